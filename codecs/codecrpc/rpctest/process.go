package rpctest

import (
	"context"
	"io"
	"os/exec"
	"strconv"
)

// A process is a command that go-plugin runs. Its standard input is a pipe that stays open as long as this process lives.
// go-plugin's own runner would pass on the standard input of the tests, which is at its end.
type process struct {
	command *exec.Cmd
	stdin   io.WriteCloser
	stdout  io.ReadCloser
	stderr  io.ReadCloser
}

func newProcess(command *exec.Cmd) (p *process, err error) {
	p = &process{command: command}
	if p.stdin, err = command.StdinPipe(); err != nil {
		return nil, err
	}
	if p.stdout, err = command.StdoutPipe(); err != nil {
		return nil, err
	}
	if p.stderr, err = command.StderrPipe(); err != nil {
		return nil, err
	}
	return p, nil
}

// The following methods implement go-plugin's runner.Runner.

func (p *process) Start(context.Context) error { return p.command.Start() }
func (p *process) Wait(context.Context) error  { return p.command.Wait() }
func (p *process) Kill(context.Context) error  { return p.command.Process.Kill() }
func (p *process) Stdout() io.ReadCloser       { return p.stdout }
func (p *process) Stderr() io.ReadCloser       { return p.stderr }
func (p *process) Name() string                { return p.command.Path }
func (p *process) ID() string                  { return strconv.Itoa(p.command.Process.Pid) }

func (p *process) Diagnose(context.Context) string { return "" }

func (p *process) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
