package pluginproc

import "fmt"

// A call that kills its process, hangs it, or makes it answer nonsense would do so to the next process too, for ever, and to all who
// share it. So calls are held to account; but most calls that were under way when a process died are innocent, and must
// neither fail for it nor wait long.
//
// Which calls can have been the reason follows from how the process ended and what it had begun:
//
//   - A call that the process had not begun is innocent. Shared memory knows which those are; by gRPC it is only those that
//     were not sent whole.
//   - A process that the host has killed for one call's sake has ended for no other.
//   - A process that exited, or died of a fault of its own, has most likely died of a call that it had begun.
//   - One that was killed from outside (SIGKILL, SIGTERM and their like) was ended by an operator or by a system short of
//     memory. That a call was under way says little: only what happens again and again counts.
//
// Innocents are made again at once and together on the next process. Suspects are made apart: one by one, in a process of their
// own, so that whatever they do to it nobody else notices (suspects.go). A call that is answered there is innocent. So a
// poisonous call costs others one replay and its own session three processes:
//
//	the process                       in company           apart        fails when
//	died by itself                    makes it a suspect   speaks against it    the second time apart
//	was killed from outside           twice: a suspect     counts               the 20th time apart
//	did not answer, nor others        makes it a suspect   speaks against it    the second time in all
//	did not answer, but others        speaks against it    the same             the second time in all
//	answered against the contract     makes it a suspect   speaks against it    the third time in all
//
// A call that has been under way when a hundred processes ended fails whatever they ended of: it is never going to be answered.
// Failing is codeccall.ErrCodecFailed, which ends a session; the plugin goes on.
const (
	deathsInCompany = 1 // after which a call is made apart
	deathsAlone     = 2 // after which it fails
	killsInCompany  = 2 // after which a call is made apart
	killsAlone      = 20
	timesOverdue    = 2
	timesMisbehaved = 3
	attemptsAtAll   = 100
)

// An outcome is what became of one attempt of a call.
type outcome int

const (
	answered      outcome = iota
	failed                // finally, for a reason that another process would not change
	notMade               // the process was gone before
	innocent              // the process has ended, and not of this call
	gone                  // the process died by itself, and others may have been the reason
	goneAlone             // the process died by itself, and nothing else was under way
	killed                // the process was killed from outside, or ended for a reason that is not known
	killedAlone           // the same, and nothing else was under way
	overdue               // no answer, to this call or any sent later
	overdueItself         // no answer to this call, while the process was well or made only this
	misbehaved            // the answer broke the contract
)

// A record is what speaks against one call.
type record struct {
	attempts                                                  int
	gone, goneAlone, killed, killedAlone, overdue, misbehaved int
	heldUp                                                    bool // overdue together with everything else
}

// apart reports whether the next attempt is made in a process of its own.
func (r *record) apart() bool {
	return r.gone >= deathsInCompany || r.goneAlone > 0 || r.killed >= killsInCompany || r.heldUp || r.misbehaved > 0
}

// add notes what became of an attempt. It returns why the call fails, or "" if it is made again.
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
