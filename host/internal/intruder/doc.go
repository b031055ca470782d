// Package intruder attacks the memory that a host shares with its plugin process, as a hostile plugin would. Tests link it into plugins.
//
// [Intercept] gets every descriptor that the host passes to the plugin. [Attack] tries every way to do what the process must not be
// able to do to the memory. [Flip] overwrites memory that the process may write. None of them needs privileges.
package intruder
