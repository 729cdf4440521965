// A button that uploads files in parts, each answered before the next is sent: no front end loses one, as they do large
// messages.

const PART_BYTES = 2 ** 22;

function render({ model, el }) {
  const input = document.createElement("input");
  Object.assign(input, { type: "file", hidden: true, accept: model.get("accept"), multiple: model.get("multiple") });
  const button = document.createElement("button");
  button.className = "jupyter-widgets jupyter-button widget-button widget-upload";
  button.title = "wav, flac, ogg, mp3, aiff and others";
  const show = (text) => (button.textContent = text ?? model.get("description"));

  const answer = () =>
    new Promise((resolve) => {
      const once = (message) => (model.off("msg:custom", once), resolve(message));
      model.on("msg:custom", once);
    });

  const send = async (file, about) => {
    const size = file.size > model.get("max_bytes") ? 0 : file.size; // of a larger one only the name goes
    for (let start = 0, is_whole = false; !is_whole; start += PART_BYTES) {
      const end = Math.min(start + PART_BYTES, size);
      const read = file.slice(start, end).arrayBuffer();
      const part = await read.catch(() => new ArrayBuffer(0)); // of a file that is gone: Python finds it too short
      is_whole = end === size || part.byteLength === 0;
      const answered = answer();
      model.send({ name: file.name, size: file.size, start, is_whole, ...about }, undefined, [part]);
      await answered;
      show(`Uploading (${Math.floor((100 * end) / Math.max(1, size))} %)`);
    }
  };

  const upload = async () => {
    const files = [...input.files];
    button.disabled = true;
    try {
      for (const [number, file] of files.entries()) await send(file, { number, n_files: files.length });
    } finally {
      input.value = ""; // so that the same file can be uploaded again
      button.disabled = false;
      show();
    }
  };

  button.addEventListener("click", () => input.click());
  input.addEventListener("change", upload);
  show();
  el.append(button, input);
}

export default { render };
