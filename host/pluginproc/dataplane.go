package pluginproc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/framehost/framehost/codecs/codeccall"
	"github.com/framehost/framehost/codecs/codecrpc"
	"github.com/framehost/framehost/codecs/codecshm"
)

// shareTimeout is how long a process that offers shared memory may take to map it. Even on a busy machine a process needs less.
const shareTimeout = 10 * time.Second

var (
	errNotAsked   = errors.New("the configuration asks for grpc")
	errNotOffered = errors.New("the plugin does not offer shared memory")
)

// offerPlane makes the memory to be shared with the process. Call it before the process is started.
func (p *osProcess) offerPlane() {
	if p.spec.DataPlane == GRPC {
		p.noPlane = errNotAsked
		return
	}
	p.plane, p.runner.inherited, p.noPlane = codecshm.New()
}

// inheritedPlane closes the descriptor that only the process needs. Call it after the process was started.
func (p *osProcess) inheritedPlane() {
	if p.runner.inherited != nil {
		p.runner.inherited.Close()
	}
}

// closePlane closes the shared memory. Call it after the process has ended or if the process does not use the memory.
func (p *osProcess) closePlane() {
	if p.plane != nil {
		p.plane.Close()
	}
}

// lend implements process.
func (p *osProcess) lend(size int) codeccall.Loan { return p.Lend(size) }

// negotiateDataPlane implements process.
func (p *osProcess) negotiateDataPlane(ctx context.Context, offered []string) (DataPlane, string, error) {
	err := p.share(ctx, offered)
	switch {
	case err == nil && p.spec.DataPlane == SHM:
		return SHM, "", nil
	case err == nil:
		return SHM, "host and plugin both have it", nil
	case ctx.Err() != nil:
		return "", "", ctx.Err()
	}
	p.closePlane()
	switch p.spec.DataPlane {
	case GRPC:
		return GRPC, "", nil
	case SHM:
		return "", "", fmt.Errorf("data plane shm: %w", err)
	default:
		return GRPC, err.Error(), nil
	}
}

func (p *osProcess) share(ctx context.Context, offered []string) error {
	if p.plane == nil {
		return p.noPlane
	}
	if !slices.Contains(offered, codecrpc.SharedMemory) {
		return errNotOffered
	}
	waiting, cancel := context.WithTimeoutCause(ctx, shareTimeout, fmt.Errorf("the plugin has not mapped memory within %v", shareTimeout))
	defer cancel()
	err := p.Share(waiting, p.plane)
	if err != nil && waiting.Err() != nil {
		return context.Cause(waiting)
	}
	return err
}
