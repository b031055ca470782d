package discovery_test

import (
	"context"
	"log"
	"net"
	"os"
	"os/signal"

	"github.com/framehost/framehost/host/discovery"
)

// takePart announces a service and dials another one by its name, until ctx is done.
func takePart(ctx context.Context) error {
	lan, err := discovery.ListenUDP(ctx, discovery.UDPOptions{})
	if err != nil {
		return err
	}
	station, err := discovery.NewStation(lan, discovery.StationOptions{Key: []byte("the bytes of a key file")})
	if err != nil {
		return err
	}
	scales, err := discovery.NewAnnouncer(station, discovery.AnnouncerOptions{
		Service:   discovery.Service{Name: "scales", Port: 7001, Codec: "mainframe", Labels: map[string]string{"hall": "3"}},
		Addresses: lan.Addresses,
	})
	if err != nil {
		return err
	}
	erp, err := discovery.NewResolver(station, discovery.ResolverOptions{
		Service: "erp", Networks: []discovery.Network{discovery.NetworkTCP}, Ignore: []discovery.ID{scales.ID()},
	})
	if err != nil {
		return err
	}
	go scales.Run(ctx)
	go erp.Run(ctx)
	go func() {
		target, err := erp.Next(ctx) // waits for the first answer
		if err != nil {
			return
		}
		conn, err := net.Dial("tcp", target.Address.String())
		if err != nil {
			erp.Failed(target) // the next Next picks another, if there is one
			return
		}
		defer conn.Close()
	}()
	return station.Run(ctx) // waits for the members, so that the goodbye is sent
}

// A program that takes part in discovery until it is interrupted.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := takePart(ctx); err != nil {
		log.Println(err)
	}
}
