// Package passkey asks the owner of an account for a passkey before package grants does what gives
// an agent more. It is a [grants.Confirmer]:
//
//	passkeys, err := passkey.New(passkey.Config{
//		RPID: "shop.example", Name: "Shop", Origins: []string{"https://shop.example"},
//		Store: store, Keys: keys,
//		Fresh: passwordJustEntered, FreshPath: "/account/password-again",
//	})
//	owners.Confirm = passkeys
//	mux.Handle("/account/passkeys/", passkeys.Handler(rp))
//
// The browser asks its human to verify themselves (by finger, face or PIN) at a device that no page
// and no program that drives the browser can press. What is signed there is bound to the one
// decision: see [grants.Confirmation]. It is a module of its own, on go-webauthn.
//
// # What it protects from, and what not
//
// An agent that drives the browser in which its owner is signed in gets no right by it: the agent
// has no finger. It cannot add a passkey of its own either, as long as it cannot give what
// [Config.Fresh] asks for. Deny, pause and stop need no passkey.
//
// Left to the site, and to the owner:
//
//   - Recovery. An owner who has lost every passkey adds a new one, with the proof of Config.Fresh.
//     If that is lost too, it is the site's recovery of accounts. Whoever passes that is the owner.
//   - The screen. A passkey's device shows the site's name, and not the decision. A browser that is
//     under somebody else's control whole, its pages included, can show one decision and have
//     another confirmed. The owner still has to touch the device at that moment.
//   - The device. A passkey in a password manager that the agent can unlock proves nothing.
package passkey
