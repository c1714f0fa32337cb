package messages

import "strings"

// cutForm cuts the form of a counted text off its key.
func cutForm(key string) (stem, form string) {
	i := strings.LastIndexByte(key, '.')
	if i < 0 {
		return key, ""
	}
	switch form = key[i+1:]; form {
	case "one", "few", "many", "other":
		return key[:i], form
	}
	return key, ""
}

// plural returns the form of a counted text for n things, n being 0 or more: the rules
// for whole numbers of the Unicode CLDR (Language Plural Rules) of the languages that
// most sites have. Other languages count like English. Where a language has no text for
// a form, that of "other" is used.
func plural(language string, n int) string {
	ones, tens := n%10, n%100/10
	switch language {
	case "ja", "zh", "ko", "vi", "th", "id":
		return "other"
	case "fr", "pt", "hi":
		return pick(n < 2, "one", "other")
	case "cs", "sk":
		return pick(n == 1, "one", pick(n >= 2 && n <= 4, "few", "other"))
	case "pl":
		return pick(n == 1, "one", pick(ones >= 2 && ones <= 4 && tens != 1, "few", "many"))
	case "ru", "uk", "be", "sr", "hr", "bs":
		return pick(ones == 1 && tens != 1, "one", pick(ones >= 2 && ones <= 4 && tens != 1, "few", "many"))
	}
	return pick(n == 1, "one", "other")
}

func pick(cond bool, yes, no string) string {
	if cond {
		return yes
	}
	return no
}
