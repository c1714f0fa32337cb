package storetest

import (
	"reflect"
	"testing"
	"time"
)

// TestSamplesAreFull: a field that the samples leave empty could get lost in a store, and
// the kit would not notice.
func TestSamplesAreFull(t *testing.T) {
	k := &grantKit{T: t, now: time.Now()}
	for _, sample := range []any{k.grant("g"), k.approval("a"), k.allowance("a"), k.allowance("a").Open[0]} {
		v := reflect.ValueOf(sample)
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("the sample of %v has no %s", v.Type(), v.Type().Field(i).Name)
			}
		}
	}
}
