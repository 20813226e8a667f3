/* Passkeys: asks the browser for what the page says, and sends its answer with the form. Without it, a code does. */
(() => {
  "use strict";
  const known = window.PublicKeyCredential;
  if (!known?.parseCreationOptionsFromJSON || !known.parseRequestOptionsFromJSON) return;
  document.documentElement.classList.add("passkeys");

  const asked = async ({ dataset }) => {
    if (dataset.options) return JSON.parse(dataset.options);
    const answer = await fetch(dataset.ask, { method: "POST", body: new URLSearchParams() });
    if (!answer.ok) throw new Error("The service did not answer. Try again.");
    return answer.json();
  };
  const ceremony = (kind, options) => kind === "create"
    ? navigator.credentials.create({ publicKey: known.parseCreationOptionsFromJSON(options) })
    : navigator.credentials.get({ publicKey: known.parseRequestOptionsFromJSON(options) });
  const why = ({ name, message }) => ({
    NotAllowedError: "Nothing was chosen, or it took too long. Try again.",
    InvalidStateError: "This passkey is there already.",
    SecurityError: "This browser takes no passkeys for this address.",
  })[name] || message;

  document.addEventListener("click", async ({ target }) => {
    const button = target.closest?.("[data-passkey]");
    if (!button) return;
    const { form } = button, said = form.querySelector("[data-said]");
    said.textContent = "";
    button.disabled = true;
    try {
      const options = await asked(button);
      /* With the password, a key that cannot know its owner will do. */
      if (form.elements.password?.value) options.userVerification = "preferred";
      const answer = await ceremony(button.dataset.passkey, options);
      form.elements.credential.value = JSON.stringify(answer.toJSON());
      form.submit();
    } catch (error) {
      said.textContent = why(error);
      button.disabled = false;
    }
  });
})();
