;;; strings.lisp - strings, streams, arrays, the reader and the printer.
(defun text (n)
  (with-output-to-string (out)
    (dotimes (i n) (format out "~x ~a " (* i 7919) (code-char (+ 97 (mod i 26)))))))

(defun checksum (s)
  (let ((sum 5381)) (loop for c across s do (setf sum (mod (+ (* sum 33) (char-code c)) 1000003))) sum))

(defun words (s)
  (let ((start 0) (out '()))
    (loop for end = (position #\space s :start start)
          while end do (push (subseq s start end) out) (setf start (1+ end)))
    out))

(defun growing (n)
  (let ((v (make-array 4 :adjustable t :fill-pointer 0)))
    (dotimes (i n) (vector-push-extend (make-string (mod i 40) :initial-element #\x) v))
    (reduce #'+ (map 'list #'length v))))

(defun read-and-print (n)
  (let ((form (loop for i below n collect (list 'point i (/ i 7) "text"))))
    (length (prin1-to-string (read-from-string (prin1-to-string form))))))

(defun main (rounds)
  (dotimes (i rounds)
    (let ((s (text (+ 800 i))))
      (format t "~a ~a ~a ~a ~a ~a~%" i (length (words s)) (checksum (string-upcase s))
              (checksum (reverse s)) (growing 2000) (read-and-print 150)))))
