//go:build !linux

package dnssd

import (
	"errors"
	"io"
	"log"
)

// listen answers what is heard on the chosen interfaces. There may be something to close and an error at once.
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
