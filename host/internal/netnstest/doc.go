// Package netnstest gives a test a network of its own, with other machines in it: Linux network namespaces, joined by
// cables (veth pairs) and bridges.
//
//	test, run again in a namespace      a Machine: a process that runs what the test tells it to
//	+-----------------------+           +------------+
//	|  lan (a bridge) ------+-- cable --+-- eth0     |
//	|    10.1.0.1/24        |           |  10.1.0.2  |   a Neighbor: a thread, for plain sockets of its own
//	|                 ------+-- cable --+------------|-> eth0
//	+-----------------------+           +------------+
//
// A test begins with
//
//	if !netnstest.Own(t) {
//		return // it was run, in a network of its own
//	}
//
// It needs iproute2, and to be root or to be allowed a user namespace. Where that is not so the test is skipped and says
// why; where the environment has CI=true it fails.
//
// A new cable carries nothing at first: Linux looks at carriers once a second. Tests send until something arrives.
package netnstest
