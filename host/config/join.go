package config

import "errors"

// Join returns one error of several: of those with a place in the configuration [Errors], sorted, each once, and others
// behind them, joined. It is nil when all are.
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
