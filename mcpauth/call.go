package mcpauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/authagent-go/authagent/action"
	"github.com/authagent-go/authagent/internal/approval"
	"github.com/authagent-go/authagent/internal/failure"
	"github.com/authagent-go/authagent/problem"
)

// A payload is what an owner is shown of a call, and approves.
type payload struct {
	Tool      string          `json:"tool"`
	Arguments json.RawMessage `json:"arguments"`
}

const step = "ask for approval"

// encode returns the one text that stands for all calls of a tool with these arguments. It is made of what the tool
// gets, not of what was sent: so whatever reads them in two ways reads them once, and before the owner does.
func encode(tool string, in any) ([]byte, error) {
	arguments, err := canonical(in)
	if err != nil {
		return nil, failure.OfSite(step, fmt.Errorf("the arguments of the tool %s have no JSON: %w", tool, err))
	}
	if again, err := reread(arguments, in); err != nil || !bytes.Equal(again, arguments) {
		return nil, failure.OfSite(step, fmt.Errorf("the arguments of the tool %s are others once they were written in JSON and read again", tool))
	}
	text, err := compact(payload{tool, arguments})
	if err != nil {
		return nil, failure.OfSite(step, err)
	}
	if _, clear := approval.JSON(text); !clear {
		return nil, failure.New(problem.InvalidRequest, step, "the arguments have two members whose names differ in case alone, or text that is not UTF-8")
	}
	return text, nil
}

// canonical writes a value in JSON with the names of all objects in order and without white space. Numbers are as
// encoding/json writes those of Go.
func canonical(in any) ([]byte, error) {
	text, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return nil, err
	}
	if value == nil {
		value = struct{}{}
	}
	return compact(value)
}

// reread returns what is written of arguments that were read as the type of in.
func reread(arguments []byte, in any) ([]byte, error) {
	t := reflect.TypeOf(in)
	if t == nil {
		return arguments, nil
	}
	again := reflect.New(t)
	if err := json.Unmarshal(arguments, again.Interface()); err != nil {
		return nil, err
	}
	return canonical(again.Elem().Interface())
}

// compact leaves characters as they are that mean something in HTML.
func compact(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// decode reads what encode has written.
func decode(text []byte, arguments any) (payload, error) {
	var read payload
	if err := json.Unmarshal(text, &read); err != nil {
		return payload{}, err
	}
	return read, json.Unmarshal(read.Arguments, arguments)
}

// ReadCall reads the call of a tool that an owner is asked about, for the functions Describe and Amount of
// grants.Policy. It returns the name of the tool, and puts the arguments into what arguments points to: the same type In
// that the tool has. It fails for a request that is no call of a tool.
func ReadCall(request action.Request, arguments any) (tool string, err error) {
	if request.Method != "" {
		return "", errors.New("mcpauth: an HTTP request is no call of a tool")
	}
	read, err := decode(request.Body, arguments)
	if err != nil {
		return "", fmt.Errorf("mcpauth: read call: %w", err)
	}
	return read.Tool, nil
}
