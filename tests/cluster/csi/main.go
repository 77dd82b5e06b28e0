// A CSI driver of the smallest kind, for tests: it publishes what stands in /content in inline volumes, on a tmpfs, and again
// whenever the kubelet asks for it (requiresRepublish). It writes with the kubelet's own AtomicWriter, as drivers for secrets and
// certificates do with copies of it; with the attribute layout=plain it writes the files themselves.
package main

import (
	"context"
	"log"
	"net"
	"os"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
	"k8s.io/kubernetes/pkg/volume/util"
)

const (
	name     = "csi.reloadlet.test"
	content  = "/content"
	socket   = "/var/lib/kubelet/plugins/" + name + "/csi.sock"
	registry = "/var/lib/kubelet/plugins_registry/" + name + "-reg.sock"
)

type driver struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedNodeServer
	registration.UnimplementedRegistrationServer
	node string
}

func (driver) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: name, VendorVersion: "1"}, nil
}

func (driver) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{}, nil
}

func (driver) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{}, nil
}

func (driver) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	return &csi.NodeGetCapabilitiesResponse{}, nil
}

func (d driver) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: d.node}, nil
}

func (driver) NodePublishVolume(_ context.Context, request *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	target := request.GetTargetPath()
	if err := os.MkdirAll(target, 0o755); err != nil {
		return nil, err
	}
	mounted, err := isMounted(target)
	if err != nil {
		return nil, err
	}
	if !mounted {
		if err := unix.Mount("tmpfs", target, "tmpfs", 0, "size=1m"); err != nil {
			return nil, err
		}
	}
	files, err := read()
	if err != nil {
		return nil, err
	}
	if request.GetVolumeContext()["layout"] == "plain" {
		for name, data := range files {
			if err := os.WriteFile(filepath.Join(target, name), data, 0o644); err != nil {
				return nil, err
			}
		}
		return &csi.NodePublishVolumeResponse{}, nil
	}
	writer, err := util.NewAtomicWriter(target, name)
	if err != nil {
		return nil, err
	}
	payload := map[string]util.FileProjection{}
	for name, data := range files {
		payload[name] = util.FileProjection{Data: data, Mode: 0o644}
	}
	return &csi.NodePublishVolumeResponse{}, writer.Write(payload, nil)
}

func (driver) NodeUnpublishVolume(_ context.Context, request *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	target := request.GetTargetPath()
	mounted, err := isMounted(target)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	if mounted {
		// Whoever holds a file in it makes this fail.
		if err := unix.Unmount(target, 0); err != nil {
			return nil, err
		}
	}
	if err := os.RemoveAll(target); err != nil {
		return nil, err
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

func isMounted(target string) (bool, error) {
	var own, above unix.Stat_t
	if err := unix.Lstat(target, &own); err != nil {
		return false, err
	}
	if err := unix.Lstat(filepath.Dir(target), &above); err != nil {
		return false, err
	}
	return own.Dev != above.Dev, nil
}

func read() (map[string][]byte, error) {
	found, err := filepath.Glob(content + "/[^.]*")
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, path := range found {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		files[filepath.Base(path)] = data
	}
	return files, nil
}

func (driver) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type: registration.CSIPlugin, Name: name, Endpoint: socket, SupportedVersions: []string{"1.0.0"},
	}, nil
}

func (driver) NotifyRegistrationStatus(_ context.Context, status *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	log.Printf("registered: %v %s", status.GetPluginRegistered(), status.GetError())
	return &registration.RegistrationStatusResponse{}, nil
}

func serve(path string, register func(*grpc.Server)) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		log.Fatal(err)
	}
	os.Remove(path)
	listener, err := net.Listen("unix", path)
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	register(server)
	log.Fatal(server.Serve(listener))
}

func main() {
	d := &driver{node: os.Getenv("NODE")}
	go serve(socket, func(server *grpc.Server) {
		csi.RegisterIdentityServer(server, d)
		csi.RegisterNodeServer(server, d)
	})
	serve(registry, func(server *grpc.Server) { registration.RegisterRegistrationServer(server, d) })
}
