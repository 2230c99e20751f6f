// Interop walks a running Counterfoil log with code that is not built on ours:
// golang.org/x/mod/sumdb and filippo.io/torchwood. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"
)

type config struct {
	url, policy, logVkey, clockVkey string
	skew                            time.Duration
	oldSize                         int64
	oldRoot, proof, leaf, bundle    string

	witnessURL, witnessVkey, witnessShows, earlierNote string
}

// unable marks what stopped the checks rather than failed one: usage, files, network.
type unable struct{ error }

func (u unable) Unwrap() error { return u.error }

func exitCode(err error) int {
	var u unable
	var transport *url.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &u), errors.As(err, &transport), errors.Is(err, context.DeadlineExceeded):
		return 2
	}
	return 1
}

func main() {
	var c config
	flag.StringVar(&c.url, "url", "", "the log's `URL` prefix")
	flag.StringVar(&c.policy, "policy", "", "C2SP tlog-policy `FILE`")
	flag.StringVar(&c.logVkey, "log-vkey", "", "the log's Ed25519 `VKEY`")
	flag.StringVar(&c.clockVkey, "clock-vkey", "", "the log's clock cosignature `VKEY`")
	flag.DurationVar(&c.skew, "skew", 10*time.Minute, "how far the clock cosignature may be from now")
	flag.Int64Var(&c.oldSize, "old-size", 0, "`SIZE` of a tree published earlier, with -old-root")
	flag.StringVar(&c.oldRoot, "old-root", "", "`BASE64` root of that tree")
	flag.StringVar(&c.proof, "proof", "", "a .tlog-proof `FILE`, with -leaf-hash")
	flag.StringVar(&c.leaf, "leaf-hash", "", "`HEX` leaf hash that -proof proves")
	flag.StringVar(&c.bundle, "bundle", "", "a .counterfoil.json `FILE`")
	flag.StringVar(&c.witnessURL, "witness", "", "submission `URL` prefix of a witness, with -witness-vkey")
	flag.StringVar(&c.witnessVkey, "witness-vkey", "", "the witness's cosignature `VKEY`")
	flag.StringVar(&c.witnessShows, "witness-monitoring", "", "monitoring `URL` prefix of the witness")
	flag.StringVar(&c.earlierNote, "earlier", "", "`FILE` of a checkpoint seen earlier, for the witness to have first")
	flag.Parse()
	err := c.validate(flag.NArg())
	if err == nil {
		err = run(context.Background(), c, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
	}
	os.Exit(exitCode(err))
}

func (c config) validate(extra int) error {
	switch {
	case extra > 0:
		return unable{errors.New("unexpected arguments")}
	case c.url == "" || c.policy == "" || c.logVkey == "" || c.clockVkey == "":
		return unable{errors.New("-url, -policy, -log-vkey and -clock-vkey are required")}
	case c.oldSize < 0 || (c.oldSize == 0) != (c.oldRoot == ""):
		return unable{errors.New("-old-size (at least 1) and -old-root go together")}
	case (c.proof == "") != (c.leaf == ""):
		return unable{errors.New("-proof and -leaf-hash go together")}
	case (c.witnessURL == "") != (c.witnessVkey == ""):
		return unable{errors.New("-witness and -witness-vkey go together")}
	case c.witnessURL == "" && (c.witnessShows != "" || c.earlierNote != ""):
		return unable{errors.New("-witness-monitoring and -earlier go with -witness")}
	}
	return nil
}

// run makes every check in order and prints a line for each that holds.
func run(ctx context.Context, c config, out io.Writer) error {
	w, err := newWalk(ctx, c)
	if err != nil {
		return err
	}
	for _, check := range []struct {
		name string
		do   func() (string, error)
	}{
		{"checkpoint", w.checkpoint},
		{"clock", w.clock},
		{"policy", w.checkPolicy},
		{"tiles", w.tiles},
		{"entries", w.entryBundles},
		{"statements", w.statementBundles},
		{"consistency", w.consistency},
		{"inclusion", w.inclusion},
		{"proof file", w.proofFile},
		{"bundle file", w.bundleFile},
		{"witness", w.witness},
		{"headers", w.headers},
	} {
		found, err := check.do()
		if err != nil {
			return fmt.Errorf("%s: %w", check.name, err)
		}
		if found != "" {
			fmt.Fprintf(out, "ok: %s: %s\n", check.name, found)
		}
	}
	return nil
}
