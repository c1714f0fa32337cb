package grants

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// What is wrong with an amount that an owner has typed in: the ends of the texts' keys.
const (
	amountForm      = "form"
	amountThousands = "thousands"
	amountDecimals  = "decimals"
	amountZero      = "zero"
	amountTooMuch   = "too-much"
)

const (
	decimalMarks = ".,"
	groupMarks   = " '\u00a0\u2009\u202f’"
)

// readAmount reads an amount as an owner types it in: digits and then, if the currency has a smaller
// unit, a point or a comma and at most c.Digits further digits. It says what is wrong, and "" for
// nothing. What could be a mark between thousands is refused: "1,000" is one to one reader, and
// a thousand to another.
func readAmount(typed string, c Currency) (amount Amount, wrong string) {
	typed = strings.TrimSpace(typed)
	whole, decimals := typed, ""
	if i := strings.IndexAny(typed, decimalMarks); i >= 0 {
		whole, decimals = typed[:i], typed[i+1:]
		if decimals == "" {
			return Amount{}, amountForm
		}
	}
	switch {
	case whole == "" || strings.ContainsFunc(typed, isNoPart):
		return Amount{}, amountForm
	case strings.ContainsAny(whole, groupMarks), strings.ContainsAny(decimals, decimalMarks+groupMarks), isGrouped(whole, decimals):
		return Amount{}, amountThousands
	case len(decimals) > c.Digits:
		return Amount{}, amountDecimals
	}
	digits := strings.TrimLeft(whole+decimals+strings.Repeat("0", c.Digits-len(decimals)), "0")
	if digits == "" {
		return Amount{}, amountZero
	}
	value, err := strconv.ParseInt(digits, 10, 64) // an error means that it is out of range
	if err != nil || value > maxLimit {
		return Amount{}, amountTooMuch
	}
	return Amount{Value: value, Currency: c.Code}, ""
}

// isNoPart reports whether r can be in no amount.
func isNoPart(r rune) bool { return !strings.ContainsRune("0123456789"+decimalMarks+groupMarks, r) }

// isGrouped reports whether the mark between two parts of a number could be one between thousands.
func isGrouped(whole, decimals string) bool {
	return len(decimals) == 3 && len(whole) <= 3 && whole[0] != '0'
}

// decimal writes a number of smallest units as in "12.50", with the language's decimal mark.
func (r reader) decimal(value int64, c Currency) string {
	digits, sign := strconv.FormatInt(value, 10), ""
	if value < 0 {
		digits, sign = digits[1:], "-"
	}
	if c.Digits == 0 {
		return sign + digits
	}
	if missing := c.Digits + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	point := len(digits) - c.Digits
	return sign + digits[:point] + r.Text("amount.mark") + digits[point:]
}

// currency returns how amounts of an action are written. Amounts of an action that has no
// allowances are written as those of other actions are.
func (p *Policy) currency(action, code string) (Currency, bool) {
	for _, name := range append([]string{action}, slices.Sorted(maps.Keys(p.Allowances))...) {
		for _, c := range p.Allowances[name] {
			if c.Code == code {
				return c, true
			}
		}
	}
	return Currency{}, false
}

// costIn is an amount as its owner reads it; "" where that is not known: without the digits of its
// currency, 1250 would look like a hundred times 12.50.
func (p *Policy) costIn(to reader, action string, a Amount) string {
	c, known := p.currency(action, a.Currency)
	if !known {
		return ""
	}
	return to.Text("amount.text", "value", to.decimal(a.Value, c), "currency", c.Code)
}

// limitIn is costIn for what an owner has allowed, which has to be told whatever is known of it.
func (p *Policy) limitIn(to reader, action string, a Amount) string {
	if cost := p.costIn(to, action, a); cost != "" {
		return cost
	}
	return to.Text("amount.smallest", "value", a.Value, "currency", a.Currency)
}
