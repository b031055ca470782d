package config

import "testing"

func TestSizes(t *testing.T) {
	tests := []struct {
		text string
		want Size
		say  string
	}{
		{"0", 0, "0B"}, {"0B", 0, "0B"}, {"9999B", 9999, "9999B"}, {"64KiB", 65536, "64KiB"}, {"1MiB", MiB, "1MiB"},
		{"2GiB", 2 * GiB, "2GiB"}, {"1kB", 1000, "1kB"}, {"5MB", 5e6, "5MB"}, {"1GB", 1e9, "1GB"}, {"1024B", 1024, "1KiB"},
		{"0064KiB", 65536, "64KiB"},
	}
	for _, test := range tests {
		got, err := ParseSize(test.text)
		if err != nil || got != test.want || got.String() != test.say {
			t.Errorf("%s: got %s, %v, want %s", test.text, got, err, test.say)
		}
	}
	for _, text := range []string{"", "1", "MiB", "-1B", "+1B", "1.5MiB", "1 MiB", "1mb", "1KB", "1M", "0x10B", "9223372036854775807KiB", "1B1"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q: got %s, want an error", text, got)
		}
	}
}

func TestNearest(t *testing.T) {
	choices := []string{"limits", "timeouts", "log", "max_frame", "mllp"}
	for text, want := range map[string]string{
		"limit": "limits", "Limits": "limits", "timeoust": "timeouts", "maxframe": "max_frame", "mlp": "mllp", "x": "", "plugins": "", "": "",
	} {
		if got := Nearest(text, choices); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
