package discovery

import (
	"fmt"
	"io"
	"os"
)

// MaxKey is the length of the longest key that a file may hold, in bytes.
const MaxKey = 4096

// ReadKey returns what the file at path holds, for [StationOptions].Key: all of it, the last newline too, so that it
// may be anything, such as the output of `head -c 32 /dev/urandom`. It is an error if that is less than MinKey or more
// than MaxKey bytes.
func ReadKey(path string) ([]byte, error) {
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
