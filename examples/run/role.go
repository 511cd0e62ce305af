// Asks the supervisor of this program for its role, with the standard library alone:
//
//	go run role.go role | wait leader 60 | events | step-down
//
// SUCCESSION_API is set for every program that runs under `succession run --api`.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
)

// supervisor is what a program can ask its supervisor.
type supervisor struct {
	base   string
	token  string
	client *http.Client
}

func newSupervisor(api, token string) *supervisor {
	if strings.HasPrefix(api, "http://") {
		return &supervisor{base: api, token: token, client: &http.Client{}}
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", api)
		},
	}
	return &supervisor{base: "http://localhost", token: token, client: &http.Client{Transport: transport}}
}

// ask sends one request; the caller closes the body of the answer.
func (s *supervisor) ask(method, path string) (*http.Response, error) {
	request, err := http.NewRequest(method, s.base+path, nil)
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost && s.token != "" {
		request.Header.Set("Authorization", "Bearer "+s.token)
	}
	return s.client.Do(request)
}

// events calls tell with the present state, then with every change, as JSON.
func (s *supervisor) events(tell func(state string)) error {
	answer, err := s.ask(http.MethodGet, "/events")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "data: ") {
			tell(strings.TrimPrefix(lines.Text(), "data: "))
		}
	}
	return lines.Err()
}

func run(arguments []string) (int, error) {
	api := os.Getenv("SUCCESSION_API")
	if api == "" {
		return 2, fmt.Errorf("SUCCESSION_API is not set: start succession run with --api")
	}
	s := newSupervisor(api, os.Getenv("SUCCESSION_API_TOKEN"))
	method, path := http.MethodGet, "/role"
	switch {
	case len(arguments) == 1 && arguments[0] == "events":
		return 0, s.events(func(state string) { fmt.Println(state) })
	case len(arguments) == 1 && arguments[0] == "step-down":
		method, path = http.MethodPost, "/step-down"
	case len(arguments) == 3 && arguments[0] == "wait":
		path = "/wait?role=" + arguments[1] + "&timeout=" + arguments[2]
	case len(arguments) == 1 && arguments[0] == "role":
	default:
		return 2, fmt.Errorf("usage: role role | wait ROLE SECONDS | events | step-down")
	}
	answer, err := s.ask(method, path)
	if err != nil {
		return 1, err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil {
		return 1, err
	}
	if answer.StatusCode >= 300 {
		return 1, nil
	}
	return 0, nil
}

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		if code == 0 {
			code = 1
		}
	}
	os.Exit(code)
}
