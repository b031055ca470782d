// Package netnstest gives a test a network of its own, with other machines in it: Linux network namespaces, connected by cables (veth
// pairs) and bridges.
//
//	test, run again in a namespace      a Machine: a process that runs the test's commands
//	+-----------------------+           +------------+
//	|  lan (a bridge) ------+-- cable --+-- eth0     |
//	|    10.1.0.1/24        |           |  10.1.0.2  |   a Neighbor: a thread, for plain sockets of its own
//	|                 ------+-- cable --+------------|-> eth0
//	+-----------------------+           +------------+
//
// A test begins with
//
//	if !netnstest.Own(t) {
//		return // the test was run in another process, in a network of its own
//	}
//
// The test needs iproute2, and root or the right to create a user namespace. Without these the test is skipped and says why; if the
// environment has CI=true, it fails.
//
// A new cable carries nothing at first, because Linux checks carriers once a second. So tests repeat sending until something arrives.
package netnstest
