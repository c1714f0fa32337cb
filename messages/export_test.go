package messages

import "testing"

// Table returns the texts that a folder of this package has.
func Table(t *testing.T, folder string) map[string]string {
	texts, err := readFolder(folder)
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// Placeholders returns the names in braces of a text.
var Placeholders = placeholders
