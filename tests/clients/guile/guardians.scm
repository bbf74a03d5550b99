;;; guardians.scm - guardians, finalizers' threads and resurrection. Argument: the rounds.
;;; A conservative collector may keep a few objects, so that counts are printed as bounds.
(define n 2000)
(define guardian (make-guardian))
(define seen (make-vector 100000 0))
(define kept (make-vector 64 #f))

(define (guard-many round)
  (do ((i 0 (+ i 1))) ((= i n))
    (let ((object (vector 'guarded round i)))
      (guardian object)
      (when (zero? (modulo i 100)) (vector-set! kept (modulo i 64) object)))))

(define broken 0)
(define (drain)
  (let loop ((count 0))
    (let ((object (guardian)))
      (cond ((not object) count)
            (else
             (if (and (vector? object) (eq? (vector-ref object 0) 'guarded)
                      (< -1 (vector-ref object 2) n))
                 (let ((id (modulo (+ (* (vector-ref object 1) n) (vector-ref object 2)) 100000)))
                   (vector-set! seen id (+ 1 (vector-ref seen id))))
                 (set! broken (+ broken 1)))
             (loop (+ count 1)))))))

(define (overwrite-stack k) (if (zero? k) 0 (+ 1 (overwrite-stack (- k 1)))))

(define rounds (string->number (cadr (command-line))))
(define back
  (let loop ((round 0) (back 0))
    (if (= round rounds)
        back
        (begin
          (guard-many round)
          (overwrite-stack 200)
          (gc)
          (loop (+ round 1) (+ back (drain)))))))

(define (settle back tries)
  (if (zero? tries)
      back
      (begin (gc) (usleep 1000) (settle (+ back (drain)) (- tries 1)))))

;; What one guardian gives back can be guarded again by another: resurrection.
(define (twice)
  (let ((first (make-guardian)) (second (make-guardian)))
    (do ((i 0 (+ i 1))) ((= i 500)) (first (list i)))
    (let loop ((tries 0) (moved 0) (back 0))
      (gc)
      (let* ((moved (+ moved (let next ((k 0))
                               (let ((o (first))) (if o (begin (second o) (next (+ k 1))) k)))))
             (back (+ back (let next ((k 0)) (if (second) (next (+ k 1)) k)))))
        (usleep 1000) ; finalizers run on a thread of guile's
        (if (or (= tries 50) (>= back 490)) (>= back 490) (loop (+ tries 1) moved back))))))

(let ((total (settle back 5)) (most (* rounds n)))
  (format #t "most came back: ~a~%" (>= total (quotient (* 95 (- most 64)) 100)))
  (format #t "none too often: ~a~%" (<= total most))
  (format #t "broken: ~a~%" broken)
  (format #t "kept are whole: ~a~%"
          (let loop ((i 0))
            (or (= i 64)
                (and (let ((o (vector-ref kept i))) (or (not o) (eq? (vector-ref o 0) 'guarded)))
                     (loop (+ i 1))))))
  (format #t "guarded twice: ~a~%" (twice)))
