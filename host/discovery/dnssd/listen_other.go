//go:build !linux

package dnssd

import (
	"errors"
	"io"
	"log"
)

// listen answers queries received on the chosen interfaces. It may return both an error and values to close, if it fails on
// some interfaces only.
func listen(chosen []used, _ []Interface, z *zone, log *log.Logger) (open []io.Closer, err error) {
	if len(chosen) == 0 {
		return nil, ErrNoInterface
	}
	var errs []error
	for i := range chosen {
		s, err := serve(chosen[i].net(), z, log)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		open = append(open, s)
	}
	return open, errors.Join(errs...)
}
