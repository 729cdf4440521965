// A button that records with the microphone and gives the sound to Python as a mono 16-bit WAV file.

const LABELS = { idle: "Record", asking: "Allow the microphone …", recording: "Stop" };

function faultOf(error) {
  const faults = {
    NotAllowedError: "The browser was not allowed to use the microphone: allow it in the address bar, then try again.",
    NotFoundError: "No microphone is connected: plug one in, or upload a file.",
    NotReadableError: "The microphone is in use by another program: close that, then try again.",
  };
  return faults[error.name] ?? `The browser could not record (${error.message}): upload a file instead.`;
}

function toWav(audio) {
  const samples = new Float32Array(audio.length);
  for (let c = 0; c < audio.numberOfChannels; c++) {
    audio.getChannelData(c).forEach((value, i) => (samples[i] += value / audio.numberOfChannels));
  }
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const write = (at, text) => [...text].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  const rate = audio.sampleRate;
  write(0, "RIFF"), view.setUint32(4, 36 + 2 * samples.length, true), write(8, "WAVEfmt ");
  view.setUint32(16, 16, true), view.setUint16(20, 1, true), view.setUint16(22, 1, true); // PCM, one channel
  view.setUint32(24, rate, true), view.setUint32(28, 2 * rate, true), view.setUint16(32, 2, true);
  view.setUint16(34, 16, true), write(36, "data"), view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, i) => view.setInt16(44 + 2 * i, 32767 * Math.max(-1, Math.min(1, value)), true));
  return view;
}

async function record(seconds, onStart) {
  if (!navigator.mediaDevices) throw new Error("only pages from https or this very computer may use a microphone");
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
  const parts = [];
  try {
    const recorder = new MediaRecorder(stream);
    recorder.ondataavailable = (event) => parts.push(event.data);
    const stopped = new Promise((resolve) => (recorder.onstop = resolve));
    const stop = () => recorder.state === "recording" && recorder.stop();
    recorder.start();
    const limit = setTimeout(stop, 1000 * seconds);
    onStart(stop);
    await stopped;
    clearTimeout(limit);
  } finally {
    stream.getTracks().forEach((track) => track.stop());
  }
  const content = await new Blob(parts).arrayBuffer();
  return toWav(await new OfflineAudioContext(1, 1, 48_000).decodeAudioData(content));
}

function render({ model, el }) {
  const button = document.createElement("button");
  button.className = "jupyter-widgets jupyter-button widget-button esc50-record";
  button.title = `Record up to ${model.get("max_seconds")} seconds with the microphone`;
  let stop = () => {};
  let clock = null;
  let isGone = false;

  const show = (state) => {
    button.dataset.state = state;
    button.disabled = state === "asking" || model.get("disabled");
    button.textContent = LABELS[state];
    clearInterval(clock);
    if (state !== "recording") return;
    const start = Date.now();
    clock = setInterval(() => (button.textContent = `Stop (${Math.floor((Date.now() - start) / 1000)} s)`), 200);
  };

  const take = async () => {
    show("asking");
    const onStart = (stopNow) => ((stop = stopNow), isGone ? stop() : show("recording"));
    const found = await record(model.get("max_seconds"), onStart).then(
      (wav) => ["recording", wav],
      (error) => ["fault", faultOf(error)],
    );
    if (isGone) return;
    model.set(...found);
    model.save_changes();
    show("idle");
  };

  button.addEventListener("click", () => (button.dataset.state === "recording" ? stop() : take()));
  model.on("change:disabled", () => show(button.dataset.state));
  show("idle");
  el.append(button);
  return () => {
    isGone = true;
    clearInterval(clock);
    stop();
  };
}

export default { render };
