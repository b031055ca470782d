package datagram

import (
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/net/ipv4"
)

// memory returns n datagrams, each with a Payload of size bytes.
func memory(n, size int) []Datagram {
	datagrams := make([]Datagram, n)
	for i := range datagrams {
		datagrams[i].Payload = make([]byte, size)
	}
	return datagrams
}

func perDatagram(b *testing.B, n int) {
	b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds(), "datagrams/s")
}

// BenchmarkDatagramsWrite sends to a socket whose buffer is full, so it measures sending alone.
func BenchmarkDatagramsWrite(b *testing.B) {
	for _, n := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			l := listenUDP(b, "127.0.0.1:0", Options{ReceiveBuffer: 4096})
			d := dialUDP(b, at("127.0.0.1", l), Options{})
			batch := memory(n, 100)
			b.ReportAllocs()
			for b.Loop() {
				if err := d.WriteBatch(batch); err != nil {
					b.Fatal(err)
				}
			}
			perDatagram(b, n)
		})
	}
}

// BenchmarkDatagramsRead reads datagrams that were sent while the timer was stopped.
func BenchmarkDatagramsRead(b *testing.B) {
	const waiting = 256
	fill := func(b *testing.B, d *Conn) {
		b.StopTimer()
		if err := d.WriteBatch(memory(waiting, 100)); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	sockets := func(b *testing.B) (l, d *Conn) {
		l = listenUDP(b, "127.0.0.1:0", Options{ReceiveBuffer: 1 << 20})
		d = dialUDP(b, at("127.0.0.1", l), Options{})
		b.ReportAllocs()
		return l, d
	}
	for _, n := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			l, d := sockets(b)
			batch := memory(n, 2048)
			for range b.N {
				fill(b, d)
				for left := waiting; left > 0; {
					k, err := l.ReadBatch(batch)
					if err != nil {
						b.Fatal(err)
					}
					left -= k
				}
			}
			perDatagram(b, waiting)
		})
	}
	// For comparison, the same with the batch functions of golang.org/x/net, and with package net one datagram at a time.
	b.Run("x-net/batch=256", func(b *testing.B) {
		l, d := sockets(b)
		messages := make([]ipv4.Message, waiting)
		for i := range messages {
			messages[i].Buffers = [][]byte{make([]byte, 2048)}
			messages[i].OOB = ipv4.NewControlMessage(ipv4.FlagDst | ipv4.FlagInterface)
		}
		var control ipv4.ControlMessage
		for range b.N {
			fill(b, d)
			for left := waiting; left > 0; {
				k, err := l.socket.p4.ReadBatch(messages, 0)
				if err != nil {
					b.Fatal(err)
				}
				for i := range messages[:k] {
					if err := control.Parse(messages[i].OOB[:messages[i].NN]); err != nil {
						b.Fatal(err)
					}
				}
				left -= k
			}
		}
		perDatagram(b, waiting)
	})
	b.Run("net", func(b *testing.B) {
		l, d := sockets(b)
		p := make([]byte, 2048)
		for range b.N {
			fill(b, d)
			for range waiting {
				if _, _, err := l.socket.conn.ReadFromUDPAddrPort(p); err != nil {
					b.Fatal(err)
				}
			}
		}
		perDatagram(b, waiting)
	})
}

// BenchmarkFlows delivers to 100 flows and reads from each.
func BenchmarkFlows(b *testing.B) {
	flows := NewFlows(nil, FlowOptions{})
	defer flows.Close()
	batch := memory(100, 100)
	for i := range batch {
		batch[i].Remote = netip.AddrPortFrom(netip.MustParseAddr("10.0.0.2"), uint16(i+1))
	}
	flows.Deliver(batch)
	all := make([]*Flow, len(batch))
	for i := range all {
		flow, err := flows.Accept()
		if err != nil {
			b.Fatal(err)
		}
		defer flow.Close()
		all[i] = flow
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, flow := range all {
			if _, err := flow.Next(); err != nil {
				b.Fatal(err)
			}
		}
		flows.Deliver(batch)
	}
	perDatagram(b, len(batch))
}
