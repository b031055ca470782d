package discovery

import (
	"context"
	"fmt"
	"io"
	"os"
)

// MaxKey is the maximum length of a key file, in bytes.
const MaxKey = 4096

// ReadKey returns the contents of the file at path, for [StationOptions].Key. The key is the whole file, including a last
// newline, so the file may be binary, such as the output of `head -c 32 /dev/urandom`. It is an error if the file has less
// than MinKey or more than MaxKey bytes. ctx ends the wait for a file that is a pipe.
func ReadKey(ctx context.Context, path string) ([]byte, error) {
	type result struct {
		key []byte
		err error
	}
	done := make(chan result, 1)
	go func() { // neither opening a pipe nor reading from it can be interrupted
		key, err := readKey(path)
		done <- result{key, err}
	}()
	select {
	case r := <-done:
		return r.key, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("key: %s: %w", path, context.Cause(ctx))
	}
}

func readKey(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	defer f.Close()
	secret, err := io.ReadAll(io.LimitReader(f, MaxKey+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("key: %w", err)
	case len(secret) < MinKey:
		return nil, fmt.Errorf("key: %s: got %d bytes, want at least %d", path, len(secret), MinKey)
	case len(secret) > MaxKey:
		return nil, fmt.Errorf("key: %s: got more than %d bytes, want at most that", path, MaxKey)
	}
	return secret, nil
}
