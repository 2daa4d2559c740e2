// The page asks for a text and shows it as it is written: as text, never as markup.

const element = (id) => document.getElementById(id);
const form = element("request");
const story = element("story");
let running = null; // the AbortController of the text being written

form.addEventListener("submit", (event) => {
  event.preventDefault();
  tell();
});
element("stop").addEventListener("click", () => running?.abort());
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
// A closed <details> could not show what is wrong with a setting in it.
form.addEventListener("invalid", () => { element("settings").open = true; }, { capture: true });
for (const output of form.querySelectorAll("output")) {
  const input = element(output.htmlFor.value);
  const show = () => { output.value = Number(input.value).toFixed(2); };
  input.addEventListener("input", show);
  show();
}
element("settings").open = !matchMedia("(max-width: 56rem)").matches;

async function tell() {
  running?.abort(); // one text at a time: the new one takes the place of the old
  const controller = running = new AbortController();
  const request = readForm();
  element("stop").disabled = false;
  element("error").hidden = true;
  let how;
  try {
    await receive(request, controller.signal);
    how = "Told";
  } catch (error) {
    if (running !== controller) return;
    if (controller.signal.aborted) how = "Stopped";
    else fail(error instanceof Refusal ? error.message : "The story-teller does not answer. Is it still running?");
  }
  finish(how, request.seed);
}

// Show the pieces of a text as they come, to its end.
async function receive(request, signal) {
  const response = await fetch("generate", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(request),
    signal,
  });
  if (!response.ok) throw await refusal(response);
  begin(request.prompt);
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    const { text, error } = JSON.parse(data);
    if (error) throw new Refusal(error.message);
    if (text) append(text);
  }
  throw new Refusal("The connection broke off before the end.");
}

class Refusal extends Error {}

async function refusal(response) {
  const body = await response.json().catch(() => null);
  return new Refusal(body?.error?.message ?? `The server answered ${response.status}.`);
}

// The data of each server-sent event in a stream of bytes.
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) if (block.startsWith("data: ")) yield block.slice(6);
  }
}

function readForm() {
  const request = {
    prompt: element("prompt").value,
    temperature: element("temperature").valueAsNumber,
    repetition_penalty: element("repetition_penalty").valueAsNumber,
    seed: element("seed").valueAsNumber,
  };
  if (element("length").value) request.length = element("length").valueAsNumber;
  if (element("top_k").value) request.top_k = element("top_k").valueAsNumber;
  if (!element("seed").value) request.seed = crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000;
  return request;
}

function begin(prompt) {
  element("told").textContent = prompt;
  element("text").textContent = "";
  element("status").textContent = "";
  story.setAttribute("aria-busy", "true");
}

function append(text) {
  const page = document.documentElement;
  const atEnd = innerHeight + scrollY >= page.scrollHeight - 48;
  element("text").append(text);
  if (atEnd) scrollTo(0, page.scrollHeight); // follow the text, unless the reader has scrolled away
}

function fail(message) {
  element("error").textContent = message;
  element("error").hidden = false;
}

function finish(how, seed) {
  running = null;
  const count = [...element("text").textContent].length;
  if (how && isBusy()) element("status").textContent = `${how}: ${count} characters, seed ${seed}.`;
  story.setAttribute("aria-busy", "false");
  if (document.activeElement === element("stop")) element("tell").focus();
  element("stop").disabled = true;
}

function isBusy() {
  return story.getAttribute("aria-busy") === "true"; // from the first piece of a text to its end
}
