// Prints what BuildKit makes of the RUN instructions of a Dockerfile for each platform, one JSON object a line:
//
//	go run . DOCKERFILE linux/amd64 linux/arm64
//
// The converter is the one of "docker build". Base images are not fetched: their configurations are empty.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// A command that BuildKit runs to build an image.
type command struct {
	// Platform of the image.
	Platform string   `json:"platform"`
	Args     []string `json:"args"`
	Env      []string `json:"env"`
}

// emptyImages answers for every image with an empty configuration of the platform that is asked for.
type emptyImages struct{}

func (emptyImages) ResolveImageConfig(
	_ context.Context, ref string, opt sourceresolver.Opt,
) (string, digest.Digest, []byte, error) {
	image := ocispecs.Image{Platform: platforms.DefaultSpec()}
	if opt.ImageOpt != nil && opt.ImageOpt.Platform != nil {
		image.Platform = *opt.ImageOpt.Platform
	}
	config, err := json.Marshal(image)
	return ref, digest.FromBytes(config), config, err
}

func commands(ctx context.Context, dockerfile []byte, platform string) ([]command, error) {
	target, err := platforms.Parse(platform)
	if err != nil {
		return nil, err
	}
	result, err := dockerfile2llb.Dockerfile2LLB(ctx, dockerfile, dockerfile2llb.ConvertOpt{
		// The build machine.
		Config:         dockerui.Config{BuildPlatforms: []ocispecs.Platform{{OS: "linux", Architecture: "amd64"}}},
		TargetPlatform: &target,
		MetaResolver:   emptyImages{},
	})
	if err != nil {
		return nil, err
	}
	definition, err := result.State.Marshal(ctx)
	if err != nil {
		return nil, err
	}
	found := []command{}
	for _, data := range definition.Def {
		var op pb.Op
		if err := op.Unmarshal(data); err != nil {
			return nil, err
		}
		if exec := op.GetExec(); exec != nil {
			found = append(found, command{platform, exec.Meta.Args, exec.Meta.Env})
		}
	}
	return found, nil
}

func main() {
	dockerfile, err := os.ReadFile(os.Args[1])
	for _, platform := range os.Args[2:] {
		var found []command
		if err == nil {
			found, err = commands(context.Background(), dockerfile, platform)
		}
		for _, command := range found {
			if err == nil {
				err = json.NewEncoder(os.Stdout).Encode(command)
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
