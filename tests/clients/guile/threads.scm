;;; threads.scm - eight threads at once that start, allocate and end, again and again. Argument:
;;; how often.
(use-modules (ice-9 threads) (srfi srfi-1))

(define (work id)
  (let loop ((i 0) (table (make-hash-table)) (list '()))
    (if (= i 3000)
        (+ (length list) (hash-count (const #t) table))
        (begin
          (hashv-set! table (modulo i 500) (string-append "value " (number->string (* i id))))
          (loop (+ i 1) table (cons (vector i id) (if (> (length list) 20) '() list)))))))

(define total 0)
(define lock (make-mutex))
(define changed (make-condition-variable))

(define (wave)
  (let* ((left 8)
         (threads (map (lambda (id)
                         (call-with-new-thread
                          (lambda ()
                            (let ((result (work id)))
                              (with-mutex lock
                                (set! total (+ total result))
                                (set! left (- left 1))
                                (signal-condition-variable changed))
                              result))))
                       (iota 8 1))))
    (with-mutex lock
      (let wait () (unless (zero? left) (wait-condition-variable changed lock) (wait))))
    (apply + (map join-thread threads))))

(do ((i 1 (+ i 1))) ((> i (string->number (cadr (command-line)))))
  (format #t "~a ~a~%" i (wave)))
(format #t "total ~a~%" total)
