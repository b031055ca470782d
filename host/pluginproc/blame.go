package pluginproc

import "fmt"

// A call that kills its process, hangs it, or makes it answer nonsense would do the same to the next process, for ever, and
// disturb every session that shares the process. So the host counts against each call the attempts that may have harmed a
// process, and fails the call when there are too many. But most calls that were under way when a process died are innocent: they
// must neither fail for the death nor wait long.
//
// The way a process ended, and the calls that it had begun, show which calls can have been the cause:
//
//   - A call that the process had not begun is innocent. With shared memory the host knows which calls had begun; with gRPC only
//     a call that was not sent whole is known not to have begun.
//   - If the host killed the process because of one call, all other calls are innocent.
//   - A process that exited, or died of a fault of its own, most likely died of a call that it had begun.
//   - A process that was killed from outside (SIGKILL, SIGTERM and the like) was ended by an operator or by a system short of
//     memory. A call that was under way is hardly suspicious: it counts only when this happens to it again and again.
//
// Innocent calls are made again at once, and together, on the next process. Suspects are made apart: one at a time, in a process
// of their own, so that the harm they do affects no other call (suspects.go). A suspect that is answered there is innocent. So a
// call that kills its process costs other sessions one repeated call, and its own session three processes:
//
//	the process                               shared with other calls   apart     the call fails
//	died by itself                            call becomes a suspect    counts    the 2nd time apart
//	was killed from outside                   twice: a suspect          counts    the 20th time apart
//	answered neither this call nor others     call becomes a suspect    counts    the 2nd time in all
//	answered others, but not this call        counts                    counts    the 2nd time in all
//	answered against the contract             call becomes a suspect    counts    the 3rd time in all
//
// A call during which 100 processes ended fails, whatever the processes ended of: it would never be answered. A call fails with
// codeccall.ErrCodecFailed, which ends its session; the plugin goes on.
const (
	deathsInCompany = 1 // after this many, a call is made apart
	deathsAlone     = 2 // after this many, it fails
	killsInCompany  = 2 // after this many, a call is made apart
	killsAlone      = 20
	timesOverdue    = 2
	timesMisbehaved = 3
	attemptsAtAll   = 100
)

// An outcome is the result of one attempt of a call.
type outcome int

const (
	answered      outcome = iota
	failed                // finally: another process would not change the result
	notMade               // the process had ended before the attempt
	innocent              // the process has ended, but not because of this call
	gone                  // the process died by itself; other calls may have been the cause
	goneAlone             // the process died by itself while it made only this call
	killed                // the process was killed from outside, or ended for an unknown reason
	killedAlone           // as killed, while the process made only this call
	overdue               // neither this call nor any later one was answered
	overdueItself         // this call was not answered, while the process answered later ones or made only this one
	misbehaved            // the answer broke the contract
)

// A record counts the outcomes of one call's attempts.
type record struct {
	attempts                                                  int
	gone, goneAlone, killed, killedAlone, overdue, misbehaved int
	heldUp                                                    bool // an attempt ended overdue: no later call was answered either
}

// apart reports whether the next attempt is made in a process of its own.
func (r *record) apart() bool {
	return r.gone >= deathsInCompany || r.goneAlone > 0 || r.killed >= killsInCompany || r.heldUp || r.misbehaved > 0
}

// add counts the outcome of an attempt. It returns why the call fails, or "" if it is made again.
func (r *record) add(o outcome) string {
	r.attempts++
	switch o {
	case gone:
		r.gone++
	case goneAlone:
		if r.goneAlone++; r.goneAlone >= deathsAlone {
			return fmt.Sprintf("the process died each of %d times that it made this call alone", r.goneAlone)
		}
	case killed:
		r.killed++
	case killedAlone:
		if r.killedAlone++; r.killedAlone >= killsAlone {
			return fmt.Sprintf("the process was killed %d times while it made this call alone", r.killedAlone)
		}
	case overdue:
		r.overdue++
		r.heldUp = true
	case overdueItself:
		if r.overdue++; r.overdue >= timesOverdue {
			return fmt.Sprintf("this call was not answered in time, %d times", r.overdue)
		}
	case misbehaved:
		if r.misbehaved++; r.misbehaved >= timesMisbehaved {
			return fmt.Sprintf("the answer to this call broke the contract, %d times", r.misbehaved)
		}
	}
	if r.attempts >= attemptsAtAll {
		return fmt.Sprintf("%d processes ended while it was under way", r.attempts)
	}
	return ""
}
