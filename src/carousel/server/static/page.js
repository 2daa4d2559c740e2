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
  const show = () => { output.value = Number(input.value).toFixed(input.step < 1 ? 2 : 0); };
  input.addEventListener("input", show);
  show();
}
element("settings").open = !matchMedia("(max-width: 56rem)").matches;
element("model")?.addEventListener("change", (event) => suit(event.target.selectedOptions[0].dataset));

// Suit the form to another model: its limits, its usual length, and its opening if none was written.
function suit({ opening, plain, vocabSize, maxPrompt, maxLength, length: usual }) {
  form.dataset.plain = plain;
  const [prompt, topK, length] = ["prompt", "top_k", "length"].map(element);
  if (prompt.value === prompt.defaultValue) prompt.value = opening;
  prompt.defaultValue = opening;
  prompt.maxLength = maxPrompt;
  topK.max = vocabSize;
  topK.placeholder = `all ${vocabSize}`;
  length.max = maxLength;
  length.value = usual;
  length.required = usual !== "";
  length.placeholder = usual ? "" : "the most";
  const included = usual ? "" : ", prompt included";
  element("length-hint").textContent = `Characters to write, at most ${maxLength}${included}.`;
}

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
    else fail(error instanceof ApiError ? error.message : "The story-teller does not answer. Is it still running?");
  }
  finish(how, request.seed);
}

// Show the pieces of a text as they come, to its end.
async function receive(request, signal) {
  const response = await fetch("v1/completions", {
    method: "POST",
    headers: headers(),
    body: JSON.stringify(request),
    signal,
  });
  if (!response.ok) throw await refusal(response);
  begin(request.prompt);
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    const { choices, error } = JSON.parse(data);
    if (error) throw new ApiError(error.message);
    for (const { text } of choices) if (text) append(text);
  }
  throw new ApiError("The connection broke off before the end.");
}

function headers() {
  const token = element("token")?.value; // it stays in the form: nothing is stored
  return { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) };
}

class ApiError extends Error {}

const LATER = {
  busy: "The story-teller is busy",
  overloaded: "The story-teller ended this text to make way for other readers",
  rate_limit_exceeded: "You have had your characters of this minute",
  unavailable: "The story-teller is starting anew",
};

async function refusal(response) {
  const { code, message } = (await response.json().catch(() => null))?.error ?? {};
  const seconds = response.headers.get("Retry-After");
  if (code in LATER && seconds) return new ApiError(`${LATER[code]}. Try again in ${seconds} s.`);
  if (response.status === 401) return new ApiError("The access token is not the right one.");
  return new ApiError(message ?? `The server answered ${response.status}.`);
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
    model: element("model")?.value,
    prompt: plainly(element("prompt").value),
    stream: true,
    temperature: element("temperature").valueAsNumber,
    top_p: element("top_p").valueAsNumber,
    repetition_penalty: element("repetition_penalty").valueAsNumber,
    candidates: element("candidates").valueAsNumber,
    seed: element("seed").valueAsNumber,
    max_tokens: Number(element("length").value || element("length").max),
  };
  if (element("top_k").value) request.top_k = element("top_k").valueAsNumber;
  if (!element("seed").value) request.seed = crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000;
  return request;
}

// Curly quotes and dashes, which telephones write by themselves, as the model has them.
function plainly(text) {
  const plain = JSON.parse(form.dataset.plain);
  return text.replace(/./gsu, (sign) => plain[sign] ?? sign);
}

function begin(prompt) {
  element("told").textContent = visible(prompt);
  element("text").textContent = "";
  element("status").textContent = "";
  story.setAttribute("aria-busy", "true");
}

function append(text) {
  const page = document.documentElement;
  const atEnd = innerHeight + scrollY >= page.scrollHeight - 48;
  element("text").append(visible(text));
  if (atEnd) scrollTo(0, page.scrollHeight); // follow the text, unless the reader has scrolled away
}

// Control characters as pictures, one for one; line feeds and tabs are obeyed. Those that would turn
// the direction of what follows, and those without a picture, become the sign for what cannot be shown.
function visible(text) {
  return text
    .replace(/[\0-\x08\x0b-\x1f]/g, (control) => String.fromCharCode(0x2400 + control.charCodeAt(0)))
    .replace(/\x7f/g, "\u2421")
    .replace(/[\x80-\x9f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
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
