(() => {
	"use strict";
	const field = document.querySelector("[data-passkey]");
	const failed = document.querySelector("[data-passkey-failed]");
	const decode = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
	const encode = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
	const credential = (c) => ({ ...c, id: decode(c.id) });
	const ask = async () => {
		const options = JSON.parse(field.dataset.passkey);
		options.challenge = decode(options.challenge);
		if (options.user) {
			options.user.id = decode(options.user.id);
			options.excludeCredentials = (options.excludeCredentials ?? []).map(credential);
			const made = await navigator.credentials.create({ publicKey: options });
			return [made, { attestationObject: encode(made.response.attestationObject) }];
		}
		options.allowCredentials = options.allowCredentials.map(credential);
		const got = await navigator.credentials.get({ publicKey: options });
		const response = { authenticatorData: encode(got.response.authenticatorData), signature: encode(got.response.signature) };
		if (got.response.userHandle) response.userHandle = encode(got.response.userHandle);
		return [got, response];
	};
	let asking = false;
	field.form.addEventListener("submit", async (event) => {
		event.preventDefault();
		if (asking) return;
		asking = true;
		failed.hidden = true;
		try {
			const [c, response] = await ask();
			response.clientDataJSON = encode(c.response.clientDataJSON);
			field.value = JSON.stringify({ id: c.id, rawId: encode(c.rawId), type: c.type, response });
			field.form.submit();
		} catch {
			failed.hidden = false;
		}
		asking = false;
	});
})();
