package scenario

// As returns the first T among s, a Scenario of type S, and those that it wraps.
func As[T, S any](s S) (found T, ok bool) {
	for {
		if found, ok = any(s).(T); ok {
			return found, true
		}
		wrapper, wraps := any(s).(interface{ Unwrap() S })
		if !wraps {
			return found, false
		}
		s = wrapper.Unwrap()
	}
}
