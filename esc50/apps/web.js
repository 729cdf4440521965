// For the app: takes any file as a sound, and answers for keys pressed in "My recordings".

const asAudio = (files) => { // Gradio's front end refuses all that is not called audio
  const held = new DataTransfer();
  for (const file of files) held.items.add(new File([file], file.name, { type: "audio/*" }));
  return held;
};
const inSound = (event) => event.target.closest?.("#sound");
const isInput = (event) => inSound(event) && event.target.matches("input[type=file]");
const on = (name, take) => document.addEventListener(name, take, true);
on("click", (event) => isInput(event) && event.target.removeAttribute("accept"));
on("change", (event) => isInput(event) && (event.target.files = asAudio(event.target.files).files));
on("drop", (event) => {
  if (inSound(event) && event.dataTransfer)
    Object.defineProperty(event, "dataTransfer", { value: asAudio(event.dataTransfer.files) });
});
document.addEventListener("keydown", (event) => {
  const part = document.getElementById("own");
  const isTyping = event.target.matches("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey;
  if (!isTyping && part?.contains(event.target)) document.getElementById(`own-${event.key}`)?.click();
});
