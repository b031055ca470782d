package endpoint

import "testing"

// When a limit is reached, the first connection that called GiveWay is reset, unless a Write came after GiveWay.
func TestGiveWay(t *testing.T) {
	limit := NewConnections(3, 0)
	l := listening(t, testAddress(t, "tcp"), ListenOptions{Admission: Admission{Limit: []*Connections{limit}}})
	accepted := func() *Conn {
		t.Helper()
		peer, err := Dial(t.Context(), l.Addr(), DialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { peer.Close() })
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	var gone []string
	first, second, third := accepted(), accepted(), accepted()
	first.GiveWay(func() { gone = append(gone, "first") })
	second.GiveWay(func() { gone = append(gone, "second") })
	third.GiveWay(func() { gone = append(gone, "third") })
	if _, err := first.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	third.Close()
	accepted() // the limit is not reached
	accepted()
	if len(gone) != 1 || gone[0] != "second" || limit.Live() != 3 {
		t.Errorf("got %v gone and %d live, want the second gone and 3 live", gone, limit.Live())
	}
	if _, err := first.Write([]byte("x")); err != nil {
		t.Errorf("got %v, want the first one to stay", err)
	}
	if _, err := second.Write([]byte("x")); err == nil {
		t.Error("the second one can still be written to, want it reset")
	}
}
