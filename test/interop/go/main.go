// Checks what sworn writes with Go's own packages for transparency logs, and feeds sworn's witness with a log of its own.
//
//	interop check <folder>   reads <folder>/question.json
//	interop feed             talks on stdin and stdout, see feed.go
//
// What holds is one line each on stdout; the first thing that does not ends the program with status 1.
package main

import (
	"fmt"
	"os"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "check":
		err = check(os.Args[2])
	case len(os.Args) == 2 && os.Args[1] == "feed":
		err = feed()
	default:
		err = fmt.Errorf("usage: interop check <folder> | interop feed")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func holds(format string, values ...any) {
	fmt.Printf("ok "+format+"\n", values...)
}
