// Package codecshm carries calls of the contract between framehost and a plugin process by memory that both have mapped.
// It is for Linux, on amd64, arm64, riscv64, loong64, ppc64le and s390x, and for plugins made with the Go SDK; what it can't
// serve goes by gRPC, with the same results. The host has a [Plane] for each process, the process calls [Serve], and neither
// a codec nor its author notices. Control stays in package codecrpc.
//
// What travels by it are positions and lengths. The bytes stay where they were received or built.
//
// # The memory
//
// All of it is memfds that the host makes, sizes and hands over, by a socket that the process inherits (see [Variable]).
// Their size is sealed, so that no access can fault, and so are the seals.
//
//	segment    host           plugin         has
//	control    reads, writes  reads          for each lane: the ring, and 1024 slots with calls
//	state      reads          reads, writes  for each lane: whether the plugin naps, and the answer to the call in each slot
//	in         reads, writes  reads          what is shown: wire, payloads and their table
//	out        reads          reads, writes  what is answered: payloads or wire, and their table
//
// Control and state are there from the beginning. The others come and go as they are needed, any number of each kind.
// What the plugin can only read is sealed against writing (F_SEAL_FUTURE_WRITE, Linux 5.1) once the host has mapped it:
// no mapping, file or descriptor that is made later can write there. What the plugin can write the host maps for
// reading. So each byte has one writer.
//
// The host divides segments into blocks: of 4, 16, 64 and 256 KiB and 1 MiB in segments of 4 MiB; beyond that of the next
// power of two, up to 4 GiB, in a segment of their own. The plugin is told in each call where to read and where to
// write, and knows of no blocks. Which of them are free is private to the host. Pages of a file that is sealed against
// writing can't be given back to the system one by one, so whole segments are: each second those that nobody has used
// since the second before. An idle process shares control and state alone, of which only touched pages take memory.
//
// # A call
//
// A plane has two lanes, and each direction has its calls made on one of them, one at a time. The host
//
//  1. writes into a free slot what the call is: codec, state, an attempt (a number of 64 bits that no other call has), the
//     places of what is shown, and the place where the result goes, which is a block that is this call's alone;
//  2. puts the slot's number into the lane's ring, and counts the ring's head up;
//  3. rings the bell, a pipe, if the plugin naps;
//  4. waits until the slot's answer carries the attempt.
//
// In the plugin one worker owns the lane. It takes the slot off the ring, writes its attempt as begun, makes the call on the
// memory as it is mapped, with the result built in its place, writes the answer, and its attempt last. A call that has
// held the lane for 10 ms, or for 1 ms where that has happened lately, keeps its worker and loses the lane to another
// one, so that slow calls don't hold up others.
//
// Where nothing is to be had at once, both sides first look again for a moment (spinner), if such waits have been short
// lately: the plugin always, the host where a call shows at most 8 KiB and is alone on its lane. Then they sleep:
//
//   - The plugin naps. For a millisecond it waits for the bell by a system call that the Go runtime does not notice, from
//     then on by one that it does.
//   - A call of the host's parks. All calls parked on a lane share its signal, a pipe the other way: the plugin writes to it
//     as a rule once each time that the host asks: before it naps, before it begins a call that shows more than 8 KiB, and
//     at the latest after 32 answers. One goroutine a lane reads it and wakes those that were answered.
//
// Why nobody sleeps on while there is something to do, and what orders one side's reading behind the other's writing, is
// argued at lane in lane.go; why a bell that is rung late does no harm, at serverLane.nap in serve.go.
//
// # What is copied
//
// [Plane.Lend] returns a block to receive into. Wire that lies in it is shown where it lies; any other is copied once, into
// a block. Payloads for an encoder are gathered in a block, unless they all lie in memory that the same process lent.
// Results that a call asked to borrow lie where the plugin has built them, as a codeccall.Loan, until they were used.
//
// The plugin could change them meanwhile, and that is of no use to it. All that the host acts upon, that is numbers, tables,
// state and texts, it first copies out of shared memory, and checks the copy: against the sizes of the places here, and
// as any other result by codeccall. What stays in place are bytes of payloads and wire, which are what the plugin
// makes of them whenever it does. Its death changes nothing either: the host has the memory mapped until the Loan has ended.
//
// # What a plugin can do
//
// A process can read whatever was shown to it or received into memory that it lent, of all sessions that it serves, also
// after the call, until the block is used again. It can write any answer, or spoil those to other calls of its own.
// What does not hold against the checks is codeccall.ErrMisbehaved. It can write to the signal without end, keep what
// was taken from it mapped, and not answer: this costs time and memory until it is killed.
//
// It can't change what is shown, the calls, or any size; make the host fault; reach memory of other processes by it; or
// make the host wait for longer than calls may take (pipes of the host's don't block, and the socket does for two seconds).
// The host takes no descriptors from it, and one message: that it has mapped the memory, or why not, of which at most 200
// bytes are shown, quoted. host/internal/intruder is a plugin that tries.
//
// A codec that writes into what it is shown fails with that call (codeccall.ErrCodecFailed), and its process goes on.
//
// # How it ends
//
// Whatever ends a plane ends all of its calls. None had an effect, and they may be made again on another process. Errors of
// those that the process had not begun wrap codeccall.ErrNotBegun too: it did not die or hang of them.
//
//   - The process ends, or lets go of its lanes: the signal ends, and calls fail with codeccall.ErrGone.
//   - A call has been parked for longer than an answer may take: it fails with codeccall.ErrOverdue, the others with ErrGone.
//   - Memory can't be handed over: ErrGone. Where the host itself can't make any, a call fails with ErrCodecFailed, and
//     Lend returns nil; the plane goes on.
//   - [Plane.Close], once the process has ended: ErrGone. It returns when no call touches the lanes any more.
//   - The host ends, or closes the plane: the bells end, the workers with them, and Serve returns. A plugin that can't map
//     what the host hands over later gets an error of Serve that wraps [ErrBroken], and has to end.
//
// Whoever started the process kills it when it is told of a failure. A plane doesn't recover.
//
// # When there is none
//
// [Supported] and [New] fail on other systems, and where memory can't be made or sealed. [Plane.Begin] fails where the
// process does not map it in time, knows another version of the layout, or has another byte order. Before its first call a
// process can so be served by gRPC instead, which is running in any case; package pluginproc decides, by data_plane of
// the configuration, and asks only processes that say they have this plane. Later there is no falling back: a process
// whose plane fails is replaced.
//
// # Limits
//
// 1024 calls are under way on a lane; more wait. A state has at most codecs.MaxState bytes; texts of errors and
// faults that are longer than 4096 bytes are cut. A result has the places of its call: entries for as many payloads as a
// decode is shown bytes, up to codecs.MaxPayloads, or an encode payloads, the room that the call says, and the faults that it may
// skip, but no more than bytes. How much memory
// there is in all is up to the callers; sessions pay for what they ask for (relay.Memory).
package codecshm
