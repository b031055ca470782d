package discovery

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
)

// MinKey is the minimum length of a key, in bytes.
const MinKey = 16

// A key signs packets, and checks signatures. It is safe for concurrent use.
type key struct{ secret []byte }

// newKey returns a key with a copy of secret, or nil if secret is nil.
func newKey(secret []byte) (*key, error) {
	switch {
	case secret == nil:
		return nil, nil
	case len(secret) < MinKey:
		return nil, fmt.Errorf("key: got %d bytes, want at least %d", len(secret), MinKey)
	}
	return &key{append([]byte(nil), secret...)}, nil
}

// sign appends to packet the signature of packet.
func (k *key) sign(packet []byte) []byte {
	mac := hmac.New(sha256.New, k.secret)
	mac.Write(packet)
	return mac.Sum(packet)
}

// check returns ErrUnsigned or ErrForged unless packet, parsed as m, is signed with k.
func (k *key) check(packet []byte, m *message) error {
	if m.signature == nil {
		return ErrUnsigned
	}
	mac := hmac.New(sha256.New, k.secret)
	mac.Write(packet[:len(packet)-signatureSize])
	if !hmac.Equal(mac.Sum(nil), m.signature) {
		return ErrForged
	}
	return nil
}
