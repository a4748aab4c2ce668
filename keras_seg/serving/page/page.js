"use strict";
// Sends the dropped file as it is to `serve_bytes` and colours the ids of the PNG that comes back.

const find = (id) => document.getElementById(id);
let models = [];
let shown = null; // {picture, ids, colors}
let last = 0; // number of the newest request: answers to older ones are not shown

function say(text, isError = false) {
  find("state").textContent = text;
  find("state").classList.toggle("error", isError);
}

async function start() {
  const answer = await fetch("page/models");
  models = (await answer.json()).models;
  for (const model of models) find("model").add(new Option(`${model.name} (version ${model.version})`, model.name));
}

function toBase64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error("The file could not be read."));
    reader.readAsDataURL(file);
  });
}

async function ask(model, file) {
  const body = { signature_name: "serve_bytes", instances: [{ image_bytes: { b64: await toBase64(file) } }] };
  const answer = await fetch(`v1/models/${encodeURIComponent(model)}:predict`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(content.error || `The server answered ${answer.status}.`);
  return content.predictions[0];
}

// One value per pixel. Pictures are drawn without colour management, so that an id stays what it is.
async function readIds(b64) {
  const bytes = Uint8Array.from(atob(b64), (letter) => letter.charCodeAt(0));
  const blob = new Blob([bytes], { type: "image/png" });
  const picture = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  const values = context.getImageData(0, 0, picture.width, picture.height).data;
  const ids = new Uint8Array(picture.width * picture.height);
  for (let i = 0; i < ids.length; i++) ids[i] = values[4 * i];
  return { ids, width: picture.width, height: picture.height, blob };
}

function draw() {
  const { picture, mask, colors } = shown;
  const opacity = find("opacity").value / 100;
  for (const name of ["image", "overlay"]) {
    const canvas = find(name);
    canvas.width = mask.width;
    canvas.height = mask.height;
    canvas.getContext("2d", { willReadFrequently: true }).drawImage(picture, 0, 0, mask.width, mask.height);
  }
  const context = find("overlay").getContext("2d");
  const pixels = context.getImageData(0, 0, mask.width, mask.height);
  for (let i = 0; i < mask.ids.length; i++) {
    const color = colors[mask.ids[i]];
    if (!color) continue; // background: the picture as it is
    for (let c = 0; c < 3; c++) {
      pixels.data[4 * i + c] = (1 - opacity) * pixels.data[4 * i + c] + opacity * color[c];
    }
  }
  context.putImageData(pixels, 0, 0);
}

function describe(mask, colors, names) {
  const counts = new Map();
  for (const id of mask.ids) counts.set(id, (counts.get(id) || 0) + 1);
  find("legend").replaceChildren();
  for (const [id, count] of [...counts].sort((a, b) => b[1] - a[1])) {
    const entry = document.createElement("li");
    const swatch = document.createElement("span");
    swatch.style.background = colors[id] ? `rgb(${colors[id]})` : "transparent";
    const share = (100 * count / mask.ids.length).toFixed(1);
    entry.append(swatch, `${names(id)} ${share} %`);
    find("legend").append(entry);
  }
}

// A detector's ids are those of objects: each a hue of its own, by steps of the golden angle.
function objectColors() {
  const colors = [];
  for (let id = 1; id < 256; id++) {
    const hue = (id * 137.508) % 360;
    const part = (n) => {
      const k = (n + hue / 30) % 12;
      return Math.round(255 * (0.5 - 0.5 * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
    };
    colors[id] = [part(0), part(8), part(4)];
  }
  return colors;
}

async function segment(file) {
  const number = ++last;
  const model = models.find((candidate) => candidate.name === find("model").value);
  say(`Waiting for ${model.name} ...`);
  try {
    if (!model.signatures.includes("serve_bytes")) throw new Error("This model takes no encoded images.");
    const started = performance.now();
    const answer = await ask(model.name, file);
    const seconds = (performance.now() - started) / 1000;
    const objects = answer.instance_bytes !== undefined;
    const b64 = (answer.instance_bytes || answer.mask_bytes || answer).b64;
    const mask = await readIds(b64);
    // As the server reads it: the orientation that photographs carry is not applied.
    const picture = await createImageBitmap(file, { imageOrientation: "none" });
    if (number !== last) return;
    const named = model.classes.map((entry) => entry.color);
    // Black is the usual background; it would hide the picture.
    const colors = objects ? objectColors() : named.map((c, id) => (id === 0 && !c.some(Boolean) ? null : c));
    const names = objects
      ? (id) => (id ? `object ${id}` : "background")
      : (id) => (model.classes[id] ? model.classes[id].name : String(id));
    shown = { picture, mask, colors };
    draw();
    describe(mask, colors, names);
    URL.revokeObjectURL(find("save").href);
    find("save").href = URL.createObjectURL(mask.blob);
    find("result").hidden = false;
    say(`${file.name}: ${mask.width} x ${mask.height} pixels in ${seconds.toFixed(2)} s`);
  } catch (error) {
    if (number === last) say(error.message, true);
  }
}

const drop = find("drop");
find("file").addEventListener("change", (event) => {
  if (event.target.files[0]) segment(event.target.files[0]);
  event.target.value = ""; // the same file may be chosen again
});
for (const name of ["dragenter", "dragover"]) {
  drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files[0]) segment(event.dataTransfer.files[0]);
});
// A file dropped beside the field would replace the page.
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
find("opacity").addEventListener("input", () => { if (shown) draw(); });
start().catch(() => say("The server does not answer.", true));
