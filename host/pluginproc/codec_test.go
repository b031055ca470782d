package pluginproc

import (
	"testing"

	"github.com/framehost/framehost/codecs/codeccall"
)

// What supervision adds to a call: nothing is allocated for it.
func BenchmarkCall(b *testing.B) {
	p, err := start(b.Context(), Spec{Name: "fake"}, Options{}.withDefaults(), fakes(func(int) (*fake, error) {
		return &fake{forgets: true}, nil
	}))
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	c, err := p.Configure(b.Context(), nil, 10)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		d := c.Open()
		defer d.Close()
		var in codeccall.Decode
		var out codeccall.Decoded
		for pb.Next() {
			if err := d.Decode(b.Context(), &in, &out); err != nil {
				b.Error(err)
			}
		}
	})
}
