package pluginproc

import "fmt"

// A call that kills its process, hangs it, or makes it answer nonsense would do so to the next process too, for ever,
// and to all who share it. So calls are held to account; but most calls that were under way when a process died are
// innocent, and must not fail for it.
//
//   - The process died while a call was under way. Any of the calls under way may have been the reason. After
//     two such deaths a call is made alone: nothing else runs in the process meanwhile. Whoever is innocent is
//     answered then, and a death now speaks against this call only. After three it fails. So a poisonous call costs
//     five processes, and an innocent one never fails, however many poisonous ones it shares them with.
//   - A call was overdue. If calls that were sent later have been answered, this call is what hangs, and the second time
//     it fails. If not, the process as a whole was held up (stopped, starved, or busy with another call, as a plugin
//     with one thread would be): the call is made alone, and must be answered then.
//   - The answer broke the contract. That answer is this call's own: the third time it fails.
//
// Failing is codeccall.ErrCodecFailed, which ends a session; the plugin goes on.
const (
	deathsInCompany = 2 // after which a call is made alone
	deathsAlone     = 3 // after which it fails
	timesOverdue    = 2
	timesMisbehaved = 3
)

// An outcome is what became of one attempt of a call.
type outcome int

const (
	answered      outcome = iota
	failed                // finally, for a reason that another process would not change
	notMade               // the process was gone before
	gone                  // the process died, and others may have been the reason
	goneAlone             // the process died, and nothing else was under way
	overdue               // no answer, to this call or any sent later
	overdueItself         // no answer to this call, while the process was well
	misbehaved            // the answer broke the contract
)

// A record is what speaks against one call.
type record struct {
	gone, goneAlone, overdue, misbehaved int
	heldUp                               bool // overdue together with everything else
}

// alone reports whether the next attempt is made alone.
func (r *record) alone() bool { return r.gone >= deathsInCompany || r.heldUp }

// add notes what became of an attempt. It returns why the call fails, or "" if it is made again.
func (r *record) add(o outcome) string {
	switch o {
	case gone:
		r.gone++
	case goneAlone:
		if r.goneAlone++; r.goneAlone >= deathsAlone {
			return fmt.Sprintf("the process died each of %d times that it made this call alone", r.goneAlone)
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
	return ""
}
