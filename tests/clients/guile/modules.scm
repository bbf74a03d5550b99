;;; modules.scm - many of guile's own modules, loaded and used. Argument: the rounds.
(use-modules (ice-9 format) (ice-9 getopt-long) (ice-9 match) (ice-9 peg) (ice-9 pretty-print)
             (ice-9 q) (ice-9 rdelim) (ice-9 regex) (ice-9 textual-ports) (ice-9 vlist)
             (language tree-il) (oop goops) (rnrs bytevectors) (rnrs records syntactic)
             (srfi srfi-1) (srfi srfi-19) (srfi srfi-26) (srfi srfi-41) (srfi srfi-43)
             (sxml simple) (sxml xpath) (system base compile) (texinfo) (web uri) (web request)
             (web http))

(define-class <shape> () (name #:init-keyword #:name #:getter name))
(define-class <square> (<shape>) (side #:init-keyword #:side #:getter side))
(define-class <circle> (<shape>) (radius #:init-keyword #:radius #:getter radius))
(define-generic area)
(define-method (area (s <square>)) (* (side s) (side s)))
(define-method (area (c <circle>)) (* 3 (radius c) (radius c)))

(define-peg-string-patterns
  "sum <-- number ('+' number)*
number <-- [0-9]+")

(define (document n)
  `(library ,@(map (lambda (i) `(book (@ (id ,(number->string i))) (title "Title & " ,i)))
                   (iota n))))

(define (xml n)
  (let* ((text (call-with-output-string (lambda (port) (sxml->xml (document n) port))))
         (tree (xml->sxml text)))
    (list (string-length text) (length ((sxpath '(// title)) tree)))))

(define (round i)
  (list (xml (+ 100 i))
        (apply + (map area (list (make <square> #:name "s" #:side i)
                                 (make <circle> #:name "c" #:radius 2))))
        (peg:tree (match-pattern sum (string-join (map number->string (iota 20 i)) "+")))
        (stream->list (stream-take 5 (stream-map (cut * <> i) (stream-from 1))))
        (vector-fold (lambda (k sum x) (+ sum (* k x))) 0 (list->vector (iota 100)))
        (uri->string (build-uri 'http #:host "example.org" #:path "/a" #:query (format #f "~d" i)))
        (date->string (time-utc->date (make-time time-utc 0 (* i 86400)) 0) "~Y-~m-~d")
        (compile `(let loop ((k 0)) (if (< k ,i) (loop (+ k 1)) (* k 2))) #:to 'value)
        (string-length (call-with-output-string
                        (lambda (port) (pretty-print (document 40) port))))
        (format #f "~10,2f ~:d ~r" (/ i 7.0) (* i 12345) i)))

(do ((i 1 (+ i 1))) ((> i (string->number (cadr (command-line)))))
  (write (round i))
  (newline))
