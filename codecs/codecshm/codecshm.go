// Package codecshm carries calls of the codec contract between framehost and a plugin process over memory that both have
// mapped. It works on Linux, on amd64, arm64, riscv64, loong64, ppc64le and s390x, with plugins made with the Go SDK. If it
// is not available, calls go over gRPC, with the same results. The host has one [Plane] for each process, and the process
// calls [Serve]; codecs and their authors see no difference. Control stays in package codecrpc.
//
// Messages carry only positions and lengths. The bytes stay where they were received or built.
//
// # The memory
//
// All shared memory is memfds. The host creates them, sets their size and passes them over a socket that the process
// inherits (see [Variable]). Seals fix their size, so that no access can fault, and forbid further seals.
//
//	segment    host           plugin         contents
//	control    reads, writes  reads          for each lane: the ring, and 1024 slots with calls
//	state      reads          reads, writes  for each lane: whether the plugin naps, and the answer to the call in each slot
//	in         reads, writes  reads          input of calls: wire, payloads and their table
//	out        reads          reads, writes  output of calls: payloads or wire, and their table
//
// Control and state exist from the beginning. In and out segments are added and dropped as needed, any number of each
// kind. Segments that the plugin may only read are sealed against writing (F_SEAL_FUTURE_WRITE, Linux 5.1) after the host
// has mapped them: no mapping, file or descriptor that is made later can write to them. Segments that the plugin can write
// are mapped read-only by the host. So each byte has exactly one writer.
//
// The host divides segments into blocks. Blocks of 4, 16, 64 and 256 KiB and 1 MiB lie in segments of 4 MiB. A larger block
// has a size that is a power of two, up to 4 GiB, and a segment of its own. Each call gives the plugin the places to read
// and to write; the plugin does not know about blocks. The list of free blocks is private to the host. The kernel cannot
// take back single pages of a file that is sealed against writing, so the host returns whole segments: once a second it
// drops the segments that were not used since the second before. An idle process shares only control and state, of which
// only touched pages occupy memory.
//
// # A call
//
// A plane has two lanes. Each direction makes its calls on one of them, at most one decode and one encode at a time. The host
//
//  1. writes the call into a free slot: codec, state, an attempt (a number of 64 bits that no other call has), the places of
//     the input, and the place for the result, which is a block for this call alone;
//  2. puts the slot's number into the lane's ring, and increments the ring's head;
//  3. rings the bell, a pipe, if the plugin naps;
//  4. waits until the slot's answer carries the attempt.
//
// In the plugin one worker owns the lane. It takes the slot off the ring, records the attempt as begun, makes the call
// directly on the mapped memory, builds the result in its place, and writes the answer and, last, its attempt. If a call
// has held the lane for 10 ms, or for 1 ms if other calls did so recently, its worker goes on with the call but loses the
// lane to another worker, so that a slow call does not delay others.
//
// A side that finds nothing to do first polls for a moment (spinner), if such waits have been short recently: the plugin
// always, the host only if the call shows at most 8 KiB and is alone on its lane. Then it sleeps:
//
//   - The plugin naps. For a millisecond it waits for the bell in a system call that the Go runtime does not notice,
//     afterwards in one that it does.
//   - In the host the call parks. All calls parked on a lane share its signal, a pipe in the other direction. The plugin
//     normally writes to it once each time that the host asks: before it naps, before it begins a call that shows more than
//     8 KiB, and at the latest after 32 answers. One goroutine for each lane reads the pipe and wakes the answered calls.
//
// The comment of lane, in lane.go, proves that no side sleeps while there is work, and says how the writes of one side are
// ordered before the reads of the other. The comment of serverLane.nap, in serve.go, says why a late bell does no harm.
//
// # What is copied
//
// [Plane.Lend] returns a block to receive into. Wire in such a block is shown in place; any other wire is copied once, into
// a block. Payloads for an encoder are gathered in a block, unless they all lie in memory that the same process lent. If a
// call asked to borrow, its result stays where the plugin built it, as a codeccall.Loan, until the loan ends.
//
// The plugin could change a borrowed result in the meantime, but gains nothing. The host copies everything on which it acts
// (numbers, tables, state and texts) out of shared memory first, and checks the copy: here against the sizes of the places,
// and in codeccall like any other result. Only the bytes of payloads and wire stay in shared memory, and their contents
// are the plugin's choice anyway. The death of the plugin changes nothing either: the memory stays mapped in the host until
// the Loan ends.
//
// # What a plugin can do
//
// A process can read everything that was shown to it or received into memory that it lent, for all sessions that it
// serves, even after the call, until the block is used again. It can write any answer, and can overwrite the answers to
// its other calls. An answer that fails the checks is codeccall.ErrMisbehaved. It can write to the signal without end, keep
// dropped segments mapped, and not answer: this costs time and memory until it is killed.
//
// It cannot change the input of calls, the calls themselves, or any size. It cannot make the host fault, or reach memory of
// other processes through the plane. It cannot make the host wait longer than calls may take: the host's pipes do not
// block, and its socket blocks for at most two seconds. The host accepts no descriptors from the plugin, and only one
// message: that it has mapped the memory, or why it could not. At most 200 bytes of that reason are shown, quoted.
// host/internal/intruder is a plugin that tries these attacks.
//
// If a codec writes into its input, that call fails with codeccall.ErrCodecFailed, and the process goes on.
//
// # How it ends
//
// When a plane ends, all of its calls end, whatever the cause. None of them had an effect, and they may be repeated in
// another process. The errors of calls that the process had not begun also wrap codeccall.ErrNotBegun: these calls did not
// make it die or hang.
//
//   - The process ends or closes its ends of the lanes' pipes: the signal ends, and calls fail with codeccall.ErrGone.
//   - A call has been parked for longer than an answer may take: it fails with codeccall.ErrOverdue, the others with ErrGone.
//   - Memory can't be passed to the process: ErrGone. If the host itself can't allocate memory, a call fails with
//     ErrCodecFailed, or Lend returns nil, and the plane goes on.
//   - [Plane.Close] is called, after the process has ended: ErrGone. Close returns when no call uses the lanes any more.
//   - The host ends or closes the plane: the bells end, the workers end, and Serve returns. If a plugin can't map memory that
//     the host adds later, Serve returns an error that wraps [ErrBroken], and the process must exit.
//
// The owner of the process, which started it, must kill it when the plane reports a failure. A plane does not recover.
//
// # When there is none
//
// [Supported] and [New] fail on other systems, and if memory can't be created or sealed. [Plane.Begin] fails if the process
// does not map the memory in time, knows another version of the layout, or has another byte order. Until its first call a
// process can be served over gRPC instead, which runs in any case. Package pluginproc decides this, by data_plane of the
// configuration, and offers shared memory only to processes that declare this plane. After the first call there is no
// fallback: a process whose plane fails is replaced.
//
// # Limits
//
// At most 1024 calls are under way on a lane; further calls wait. A state has at most codecs.MaxState bytes. Texts of errors
// and faults are cut at 4096 bytes. The places of a call limit its result: it has at most as many payloads as the decode
// shows bytes, and at most codecs.MaxPayloads, or as many frames as the encode has payloads; at most as many bytes as the
// call's room; and at most as many skipped faults as the call allows, and as it shows bytes. The total amount of memory is
// up to the callers; sessions account for the memory that they ask for (relay.Memory).
package codecshm
