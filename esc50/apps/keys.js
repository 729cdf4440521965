// Gives Python the answer to a key that is pressed anywhere in the panel, but in a text field.

export default {
  render({ model, el }) {
    const onKey = (event) => {
      const panel = el.closest(".esc50-labelling");
      const word = model.get("words")[event.key];
      const isTyping = event.target.matches("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey;
      if (!word || isTyping || !panel?.contains(event.target)) return;
      event.preventDefault();
      event.stopImmediatePropagation(); // the notebook has commands on these keys
      model.send({ word });
    };
    window.addEventListener("keydown", onKey, true);
    return () => window.removeEventListener("keydown", onKey, true);
  },
};
