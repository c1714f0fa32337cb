package punycode

import "testing"

// TestHost is CFG-11, with sample strings of RFC 3492 section 7.1.
func TestHost(t *testing.T) {
	for in, want := range map[string]string{
		"shop.example":      "shop.example",
		"münchen.example":   "xn--mnchen-3ya.example",
		"MÜNCHEN.example":   "xn--mnchen-3ya.example",
		"bücher.例え":         "xn--bcher-kva.xn--r8jz45g",
		"shop。example":      "shop.example",
		"shop．exämple｡":     "shop.xn--exmple-cua.",
		"😀.example":         "xn--e28h.example",
		"ليهمابتكلموشعربي؟": "xn--egbpdaj6bu4bxfgehfvwxn",   // (A) Arabic
		"他们为什么不说中文":         "xn--ihqwcrb4cv8a8dqg056pqjye", // (B) Chinese, simplified
		"почемужеонинеговорятпорусски": "xn--b1abfaaepdrnnbgefbadotcwatmq2g4l", // (H) Russian
		"3年b組金八先生":                        "xn--3b-ww4c5e180e575a65lsy2b",                     // (L)
		"tạisaohọkhôngthểchỉnóitiếngviệt": "xn--tisaohkhngthchnitingvit-kjcr8268qyxafd2f1b9g", // (K) Vietnamese, in small letters
	} {
		if got := Host(in); got != want {
			t.Errorf("CFG-11 Host(%q) is %q, want %q", in, got, want)
		}
	}
}
