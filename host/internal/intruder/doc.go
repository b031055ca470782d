// Package intruder is what a hostile plugin process does with the memory that its host shares with it. Tests link it into
// plugins.
//
// [Intercept] gets hold of every descriptor that the host hands over, [Attack] tries whatever might do to the memory what
// the process may not do, and [Flip] overwrites what it may. None of it needs privileges.
package intruder
