// Renders pages of Markdown, with their formulas, to pages of HTML:
// node render.mjs FOLDER PAGE.md … writes FOLDER/0.html and so on. Any formula that KaTeX refuses goes to
// stderr, and the status is 1.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import katex from 'katex';
import MarkdownIt from 'markdown-it';

const require = createRequire(import.meta.url);
const math = require('@vscode/markdown-it-katex').default;
const css = require.resolve('katex/dist/katex.min.css');
const [folder, ...pages] = process.argv.slice(2);

for (const [number, page] of pages.entries()) {
  const strict = {
    ...katex,
    renderToString(tex, options) {
      try {
        return katex.renderToString(tex, { ...options, throwOnError: true, strict: 'error' });
      } catch (error) {
        process.stderr.write(`${page}: ${tex.trim()}\n  ${error.message}\n`);
        process.exitCode = 1;
        return '';
      }
    },
  };
  const markdown = new MarkdownIt({ html: true }).use(math, { katex: strict });
  const body = markdown.render(readFileSync(page, 'utf8'));
  writeFileSync(join(folder, `${number}.html`), `<!doctype html>
<html lang="en"><meta charset="utf-8"><base href="file://${page}"><link rel="stylesheet" href="file://${css}">
<style>
:root { color-scheme: light dark }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 sans-serif }
pre { overflow-x: auto } table { border-collapse: collapse; display: block; overflow-x: auto }
td, th { border: 1px solid #8886; padding: .3rem .6rem } img { max-width: 100% }
</style>
<main>${body}</main>`);
}
