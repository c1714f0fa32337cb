package messages

import "testing"

// TestPlural: each language has its own forms for a number.
func TestPlural(t *testing.T) {
	for language, forms := range map[string]map[int]string{
		"en": {0: "other", 1: "one", 2: "other", 21: "other"},
		"ja": {1: "other"},
		"fr": {0: "one", 1: "one", 2: "other"},
		"cs": {0: "other", 1: "one", 2: "few", 4: "few", 5: "other", 22: "other"},
		"pl": {0: "many", 1: "one", 2: "few", 4: "few", 5: "many", 12: "many", 14: "many", 21: "many", 22: "few", 24: "few", 25: "many", 112: "many"},
		"ru": {0: "many", 1: "one", 2: "few", 4: "few", 5: "many", 11: "many", 12: "many", 21: "one", 22: "few", 25: "many", 111: "many"},
	} {
		for n, want := range forms {
			if got := plural(language, n); got != want {
				t.Errorf("%s, %d: %s, want %s", language, n, got, want)
			}
		}
	}
}
