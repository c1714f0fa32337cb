package grants

import (
	"testing"
	"time"

	"github.com/authagent-go/authagent/messages"
)

// TestReadAmount_ALW_20: an amount is read as it is written or not at all, and never in two ways.
func TestReadAmount_ALW_20(t *testing.T) {
	dollar, yen, dinar, coin := Currency{"USD", 2}, Currency{"JPY", 0}, Currency{"KWD", 3}, Currency{"X", 8}
	for _, test := range []struct {
		typed string
		in    Currency
		value int64
		wrong string
	}{
		{"50", dollar, 5000, ""}, {" 12.5 ", dollar, 1250, ""}, {"12,50", dollar, 1250, ""}, {"0.01", dollar, 1, ""}, {"007", dollar, 700, ""},
		{"1000", dollar, 100000, ""}, {"1000", yen, 1000, ""}, {"0,500", dinar, 500, ""}, {"1.25", dinar, 1250, ""}, {"1234.567", dinar, 1234567, ""},
		{"0.00000001", coin, 1, ""}, {"90071992547409.92", dollar, 1 << 53, ""},
		{"1,000", dollar, 0, amountThousands}, {"1.000", dollar, 0, amountThousands}, {"1,000", yen, 0, amountThousands}, {"1,000", dinar, 0, amountThousands},
		{"1,000.50", dollar, 0, amountThousands}, {"1.000,50", dollar, 0, amountThousands}, {"1,000,000", dollar, 0, amountThousands}, {"1 000", dollar, 0, amountThousands},
		{"1'000", dollar, 0, amountThousands}, {"1\u202f000,50", dollar, 0, amountThousands}, {"1’000", dollar, 0, amountThousands}, {"1.5 0", dollar, 0, amountThousands},
		{"12.505", dollar, 0, amountThousands}, {"12.5051", dollar, 0, amountDecimals}, {"1.5", yen, 0, amountDecimals}, {"0.005", dollar, 0, amountDecimals},
		{"0", dollar, 0, amountZero}, {"0,00", dollar, 0, amountZero},
		{"90071992547409.93", dollar, 0, amountTooMuch}, {"9223372036854775807", yen, 0, amountTooMuch}, {"184467440737095516160", dollar, 0, amountTooMuch},
		{"92233720368547758.08", dollar, 0, amountTooMuch}, {"18446744073709551666", yen, 0, amountTooMuch},
		{"", dollar, 0, amountForm}, {" ", dollar, 0, amountForm}, {"-5", dollar, 0, amountForm}, {"+5", dollar, 0, amountForm}, {"$5", dollar, 0, amountForm},
		{"5 USD", dollar, 0, amountForm}, {"5e3", dollar, 0, amountForm}, {"0x5", dollar, 0, amountForm}, {"1_0", dollar, 0, amountForm}, {".5", dollar, 0, amountForm},
		{"5.", dollar, 0, amountForm}, {"5,", yen, 0, amountForm}, {".", dollar, 0, amountForm}, {"٥", dollar, 0, amountForm}, {"５", dollar, 0, amountForm}, {"5\x00", dollar, 0, amountForm},
		{"NaN", dollar, 0, amountForm}, {"\xff", dollar, 0, amountForm},
	} {
		amount, wrong := readAmount(test.typed, test.in)
		if amount.Value != test.value || wrong != test.wrong || (wrong == "") != (amount.Currency == test.in.Code) {
			t.Errorf("%q in %s: %v, %q, want %d, %q", test.typed, test.in.Code, amount, wrong, test.value, test.wrong)
		}
	}
}

// FuzzReadAmount_ALW_20: what is read is shown as the same amount, and is read again as it.
func FuzzReadAmount_ALW_20(f *testing.F) {
	f.Add("12.50", 2)
	f.Add("90071992547409,92", 2)
	f.Add("0.00000001", 8)
	f.Fuzz(func(t *testing.T, typed string, digits int) {
		c := Currency{"USD", int(uint(digits) % (maxDigits + 1))}
		amount, wrong := readAmount(typed, c)
		if wrong != "" {
			return
		}
		if amount.Value <= 0 || amount.Value > maxLimit {
			t.Fatalf("%q: %d", typed, amount.Value)
		}
		shown := english().decimal(amount.Value, c)
		if again, wrong := readAmount(shown, c); wrong != amountThousands && (again != amount || wrong != "") {
			t.Errorf("%q is shown as %q, which is read as %v, %q", typed, shown, again, wrong)
		}
	})
}

func english() reader { return reader{messages.English(), time.UTC, time.Now()} }

// TestShownAmount_ALW_20: an amount is shown by the digits of its currency, in the language's way,
// and not at all where these are not known.
func TestShownAmount_ALW_20(t *testing.T) {
	p := OwnerApproval(nil)
	p.Allowances = map[string][]Currency{"pay": {{"USD", 2}, {"JPY", 0}}, "a": {{"USD", 3}, {"X", 8}}}
	german := reader{messages.German(), time.UTC, time.Now()}
	for _, test := range []struct {
		action            string
		amount            Amount
		english, inGerman string
	}{
		{"pay", Amount{Value: 1250, Currency: "USD"}, "12.50 USD", "12,50 USD"}, {"pay", Amount{Value: 5, Currency: "USD"}, "0.05 USD", "0,05 USD"}, {"pay", Amount{Value: 0, Currency: "USD"}, "0.00 USD", "0,00 USD"},
		{"pay", Amount{Value: 1250, Currency: "JPY"}, "1250 JPY", "1250 JPY"}, {"pay", Amount{Value: 1, Currency: "X"}, "0.00000001 X", "0,00000001 X"}, {"a", Amount{Value: 1250, Currency: "USD"}, "1.250 USD", "1,250 USD"},
		{"pay", Amount{Value: -1250, Currency: "USD"}, "-12.50 USD", "-12,50 USD"}, {"pay", Amount{Value: 1250, Currency: "EUR"}, "", ""}, {"pay", Amount{}, "", ""},
	} {
		if got := p.costIn(english(), test.action, test.amount); got != test.english {
			t.Errorf("%s %v: %q, want %q", test.action, test.amount, got, test.english)
		}
		if got := p.costIn(german, test.action, test.amount); got != test.inGerman {
			t.Errorf("%s %v in German: %q, want %q", test.action, test.amount, got, test.inGerman)
		}
	}
	if got := p.limitIn(english(), "pay", Amount{Value: 1250, Currency: "EUR"}); got != "1250 of the smallest unit of EUR" {
		t.Errorf("a limit: %q", got)
	}
}

// TestCovers_ALW_1: what an allowance covers does not rest on who has checked the amount before.
func TestCovers_ALW_1(t *testing.T) {
	now := time.Now()
	a := Allowance{Limit: Amount{Value: 10, Currency: "USD"}, Taken: 3, Terms: 1, ExpiresAt: now.Add(time.Hour)}
	for amount, want := range map[Amount]bool{
		{Value: 7, Currency: "USD"}: true, {Value: 1, Currency: "USD"}: true, {Value: 8, Currency: "USD"}: false, {Value: 0, Currency: "USD"}: false,
		{Value: -1, Currency: "USD"}: false, {Value: -1 << 63, Currency: "USD"}: false, {Value: 1, Currency: "EUR"}: false, {Value: 1}: false, {}: false,
	} {
		if got := a.covers(amount, now); got != want {
			t.Errorf("%v: %v", amount, got)
		}
	}
	if a.covers(Amount{Value: 1, Currency: "USD"}, a.ExpiresAt) {
		t.Error("it covers something after its time")
	}
}
