package problem_test

import (
	"errors"
	"fmt"

	"github.com/authagent-go/authagent/problem"
)

// What went wrong, and who can do something about it.
func ExampleError() {
	err := fmt.Errorf("sign in: %w", &problem.Error{Reason: problem.NoAccount, Step: "find account"})

	fmt.Println(errors.Is(err, problem.NoAccount), errors.Is(err, problem.Agent), errors.Is(err, problem.Network))
	var e *problem.Error
	if errors.As(err, &e) {
		fmt.Println(string(e.Reason), string(e.Fault()), e.Status())
	}
	// Output:
	// true true false
	// no_account agent 403
}
