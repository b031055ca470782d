package config

import "errors"

// Join combines errs into one error, or returns nil if all are nil. It collects the errors with a position in the configuration in one
// [Errors], sorted and without duplicates, and joins the other errors after it.
func Join(errs ...error) error {
	var placed Errors
	var others []error
	seen := map[string]bool{}
	for _, err := range errs {
		var some Errors
		switch {
		case errors.As(err, &some):
			for _, e := range some {
				if text := e.Error(); !seen[text] {
					seen[text] = true
					placed = append(placed, e)
				}
			}
		case err != nil:
			others = append(others, err)
		}
	}
	if len(placed) == 0 {
		return errors.Join(others...)
	}
	placed.sort()
	if len(others) == 0 {
		return placed
	}
	return errors.Join(append([]error{placed}, others...)...)
}
