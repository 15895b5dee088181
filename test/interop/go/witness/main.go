// The witness of transparency-dev, serving one log on 127.0.0.1 as their omniwitness does, until stdin ends.
//
//	witness <vkey of the log>
//
// The first line of stdout is the URL, the second the witness's key. Its state is gone with it.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	f_note "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/witness/persistence/inmemory"
	"github.com/transparency-dev/witness/witness"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("usage: witness <vkey of the log>"))
	}
	if err := serve(os.Args[1]); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func serve(logVkey string) error {
	log, err := note.NewVerifier(logVkey)
	if err != nil {
		return err
	}
	skey, vkey, err := note.GenerateKey(rand.Reader, "go.example/witness")
	if err != nil {
		return err
	}
	signer, err := f_note.NewSignerForCosignatureV1(skey)
	if err != nil {
		return err
	}
	if vkey, err = f_note.VKeyToCosignatureV1(vkey); err != nil {
		return err
	}
	cosigner, err := witness.New(context.Background(), witness.Opts{
		Persistence: inmemory.New(),
		Signers:     []note.Signer{signer},
		VerifierForLog: func(_ context.Context, origin string) (note.Verifier, bool, error) {
			return log, origin == log.Name(), nil
		},
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", witness.NewHTTPHandler(cosigner).AddCheckpoint)
	server := http.Server{Handler: mux}
	go func() {
		if err := server.Serve(listener); err != http.ErrServerClosed {
			fail(err)
		}
	}()
	fmt.Printf("http://%s\n%s\n", listener.Addr(), vkey)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
